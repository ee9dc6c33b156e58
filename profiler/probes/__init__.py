"""Instruments that read a running cell: time, energy, clocks, memory, hardware counters."""
