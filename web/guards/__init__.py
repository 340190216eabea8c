"""Code that runs before a view: tokens, rate limits, body validation; and error responses."""
