"""Where a run's problems are measured: today in a child process of this host."""
