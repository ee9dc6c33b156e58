"""A chain of two factors in one launch of a GPU: its tiles, their estimate and its launch."""
