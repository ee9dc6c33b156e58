"""Runs: one suite on one device from plan to result, its progress, and several runs at once."""
