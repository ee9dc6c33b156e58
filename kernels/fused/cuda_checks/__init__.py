"""Checks of the compiled kernels: registers and instructions without a GPU; products and times on one."""
