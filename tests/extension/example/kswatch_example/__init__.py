"""Implementations and a suite that are not part of kswatch."""
