"""A real browser on the real stack."""
