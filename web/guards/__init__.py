"""What stands before a view: tokens, rate limits, declared bodies, and the answer to an error."""
