"""The guards that each fault tests, and controls that disable them."""
