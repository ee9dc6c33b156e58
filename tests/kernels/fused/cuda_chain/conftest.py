"""The fake GPU for the tests of the launch path."""

from tests.kernels.fused.cuda.fake_gpu import gpu

__all__ = ["gpu"]
