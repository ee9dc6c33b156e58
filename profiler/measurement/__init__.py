"""The measuring loop: validation, interleaved timing, energy pass, statistics, and records of the results."""
