"""Maintenance of a store: integrity checks, statistics, backups and the deletion of old samples."""
