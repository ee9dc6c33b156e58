"""The fused product on the CPU: a C++ library, built on first use and called through ctypes."""
