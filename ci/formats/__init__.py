"""Output formats and escaping: alert text, JUnit XML, GitHub workflow commands, formatters."""
