"""Simulated GPUs of known truth behind the interfaces of real ones; none of their readings is measured."""
