"""The pattern page: one problem over the nights, and one night in detail."""
