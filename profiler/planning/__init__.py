"""Plans of runs: suites, the problems and their order, what fits a time budget, and options of a run."""
