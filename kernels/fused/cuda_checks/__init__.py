"""kernels/fused/cuda_checks: say in one sentence what lives here."""
