"""Devices and the facts about them: discovery, environment, preflight checks, roofline, simulated boards."""
