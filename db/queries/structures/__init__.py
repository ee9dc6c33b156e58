"""Reads of layers and models."""
