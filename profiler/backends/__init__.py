"""Backends: the CPU and CUDA GPUs behind one interface, with workloads, canaries and warm-up."""
