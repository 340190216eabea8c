"""Logs and metrics of a process. It knows nothing of bidding beyond the names it reports."""
