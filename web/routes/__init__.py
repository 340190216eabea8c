"""Flask's routes. A view loads, makes one call into core, and dumps."""
