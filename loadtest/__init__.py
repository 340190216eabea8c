"""Load tests and the verification of their ledgers. Shares no code with the product."""
