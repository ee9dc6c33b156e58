"""Import and export of measurements as JSON lines and CSV."""
