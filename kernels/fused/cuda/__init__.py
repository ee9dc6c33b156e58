"""The fused product on NVIDIA GPUs: choosing a tile, compiling it with nvcc, launching it with PyCUDA."""
