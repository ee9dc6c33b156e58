"""Putting Kronecker-sparse layers into a model: chains, a plan with costs and errors, its execution."""
