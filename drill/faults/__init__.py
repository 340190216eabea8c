"""The faults, and how each is injected."""
