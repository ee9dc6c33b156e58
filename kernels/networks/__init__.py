"""The networks of `kswatch.kernels.models` as torch modules: building, accuracy, share of linear layers."""
