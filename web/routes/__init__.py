"""Flask's routes. A view loads the request, makes one call into core, and dumps the result."""
