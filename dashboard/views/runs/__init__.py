"""The runs page: the list of runs and the cells of one run."""
