"""The runs that collect the figures, one module per kind."""
