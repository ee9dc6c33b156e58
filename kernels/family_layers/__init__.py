"""The families of `kswatch.kernels.families` as torch modules: layers, references, projections."""
