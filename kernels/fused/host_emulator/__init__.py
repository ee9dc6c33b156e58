"""kernels/fused/host_emulator: say in one sentence what lives here."""
