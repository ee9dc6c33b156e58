"""kernels/fused/cpu_twin: say in one sentence what lives here."""
