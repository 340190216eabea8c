"""The report of a run, and its progress while it runs."""
