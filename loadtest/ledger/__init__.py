"""The ledger of the clients' requests, the servers' stored state, and their comparison."""
