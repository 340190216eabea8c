"""PostgreSQL: the engine, the tables and their migrations. Imports neither Redis nor rules."""
