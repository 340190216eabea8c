"""The Procfile's processes as they run in production, spoken to over HTTP."""
