"""kernels/layer: say in one sentence what lives here."""
