"""Reports of a check as text, Markdown, JSON rows, JUnit XML and GitHub annotations."""
