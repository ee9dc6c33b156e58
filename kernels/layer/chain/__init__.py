"""Two factors of a layer in one pass, with gradients."""
