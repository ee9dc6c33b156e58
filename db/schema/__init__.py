"""The tables, as SQLAlchemy models; schema.md describes each column."""
