"""One file per step; their order stands in `db.migrations.REVISIONS`."""
