"""The seven ways that stock torch offers to multiply by a Kronecker-sparse matrix, one a file.

Each is written as a user of stock torch would write it: weights are re-laid out once at prepare,
activations are permuted only by the methods that need it, and that is part of what is measured.
"""
