"""Revisions of the kernels in git: worktrees, loading kernels, the effects of a change, compiler figures."""
