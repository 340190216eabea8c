"""The auction against a short model of itself, in histories that nobody thought up."""
