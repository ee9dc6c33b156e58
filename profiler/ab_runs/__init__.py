"""A/B runs: two revisions of the kernels, measured alternately on one device."""
