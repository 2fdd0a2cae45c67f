"""The passes of the NPU, one a file."""
