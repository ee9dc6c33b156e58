"""Models whose forward pass is measured: modules, variants, parameters and operations, without torch."""
