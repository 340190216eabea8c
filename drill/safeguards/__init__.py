"""The guards that each fault tries, and controls that take one away."""
