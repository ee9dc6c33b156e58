"""Implementations and suites of other projects: where they come from, and how they are loaded and tried."""
