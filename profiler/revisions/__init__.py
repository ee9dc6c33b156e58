"""Revisions of the kernels in git: their files, loading them, the effects of a change, compiler figures."""
