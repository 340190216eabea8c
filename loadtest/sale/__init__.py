"""The tested sale: its plan, members and prices, and a client of the API."""
