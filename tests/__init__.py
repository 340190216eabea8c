"""The suite. Everything runs against real PostgreSQL and real Redis; nothing is mocked."""
