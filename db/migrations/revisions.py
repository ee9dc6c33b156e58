"""The schema's revisions, listed apart from their steps: opening a store need not load Alembic."""

REVISIONS: tuple[str, ...] = (
    *("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009"),
    "0010",
)
"""Every revision, oldest first."""

HEAD = REVISIONS[-1]
