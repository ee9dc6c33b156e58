"""Results of layers and models: costs by family, and how a model's gain splits into structure and kernel."""
