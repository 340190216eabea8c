"""Load tests, and the books that are checked afterwards. Shares no code with the product."""
