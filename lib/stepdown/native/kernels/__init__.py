"""Kernels: one file a kind of op; each says how an op is computed in TIR, for every machine from one source."""
