"""Writing runs and measurements, with the comparisons, summaries, scores and tails derived from them."""
