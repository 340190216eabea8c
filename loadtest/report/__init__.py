"""The report of a run, and its progress line."""
