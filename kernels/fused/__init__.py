"""The fused product: one CUDA kernel family, and its twin for the CPU."""
