"""The compare page: two runs, cell by cell."""
