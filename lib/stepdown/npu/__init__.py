"""The compiler's side of an NPU: instructions, their cost, tiling, memory, code."""
