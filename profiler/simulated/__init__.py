"""Simulated GPUs of known truth behind the interfaces of real ones: nothing they tell was measured."""
