"""What is read while a cell runs: time, energy, clocks, memory, each a small class behind one base."""
