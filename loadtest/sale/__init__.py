"""The sale that is tested: its plan, its members, its prices, and the API as a client sees it."""
