"""kernels/fused/cuda: say in one sentence what lives here."""
