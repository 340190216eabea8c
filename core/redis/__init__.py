"""Redis: clients, key names, scripts and the clock. Imports neither PostgreSQL nor rules."""
