"""What the folders have in common without importing each other: the implementations, each declared once."""
