"""Runs the project on a developer's machine: `python -m dev run` and `python -m dev reset`."""
