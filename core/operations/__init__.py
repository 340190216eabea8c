"""Operating the service: health, gauges, audit, capacity, the log of admin actions."""
