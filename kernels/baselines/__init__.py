"""The seven baselines: products with a Kronecker-sparse matrix in stock torch, one method per file.

Each is written as a user of stock torch would write it: weights are re-laid out once at prepare,
activations are permuted only by the methods that need it, within the measured time.
"""
