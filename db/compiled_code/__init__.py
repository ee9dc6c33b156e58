"""Records of compiled kernels: their resources, and the tiles found by tuning."""
