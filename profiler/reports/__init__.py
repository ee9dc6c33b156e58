"""Tables and summaries of runs, nights, dry runs and diagnostics for the terminal and for `--json`."""
