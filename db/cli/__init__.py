"""The commands `import`, `export`, `summary`, `runs`, `request`, `cancel` and `db`."""
