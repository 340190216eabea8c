"""PostgreSQL: the engine, the tables and their migrations. It knows no Redis and no rule."""
