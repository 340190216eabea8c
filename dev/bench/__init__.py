"""Measures what the promises of speed say, as ratios: `python -m dev.bench`."""
