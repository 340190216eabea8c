"""Redis: clients, key names, scripts and the one clock. It knows no PostgreSQL and no rule."""
