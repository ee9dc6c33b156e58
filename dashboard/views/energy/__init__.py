"""The energy page: energy of each implementation and its sources."""
