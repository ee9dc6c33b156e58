"""Charts of layers and models."""
