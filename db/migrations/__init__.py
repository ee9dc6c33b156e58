"""The store's schema, step by step (Alembic)."""

REVISIONS: tuple[str, ...] = ("0001", "0002", "0003")
"""Every revision, oldest first; said here too, so that opening an up-to-date store need not load Alembic."""

HEAD = REVISIONS[-1]
