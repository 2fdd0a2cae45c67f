"""Machine code for CPUs: kernels in TIR, compiled by the LLVM of TVM or written as C; networks without a runtime."""
