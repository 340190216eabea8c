"""The benchmark of the performance promises, as ratios: `python -m dev.bench`."""
