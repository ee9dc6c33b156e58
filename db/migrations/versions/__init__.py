"""One file per step; their order stands in `kswatch.db.migrations.REVISIONS`."""
