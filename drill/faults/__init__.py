"""The faults, and how each is made."""
