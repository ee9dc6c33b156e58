"""Labels, numbers and times as text, and stored text escaped for Markdown."""
