"""What is measured: products, layers and models, their cells, and what each cell needs."""
