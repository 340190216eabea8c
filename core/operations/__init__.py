"""Running the service: health, metrics of all servers, audit, capacity, the admins' log."""
