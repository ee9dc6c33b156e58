"""Gates in the store: what `kswatch gate` found, and its reads."""
