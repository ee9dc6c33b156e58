"""The gate: two revisions of the kernels compared, by measuring or by their machine code, and bisection."""
