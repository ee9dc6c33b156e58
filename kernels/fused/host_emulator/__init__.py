"""The CUDA sources compiled for the CPU and executed thread by thread, to test the kernel without a GPU."""
