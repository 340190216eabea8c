"""The measures, one module a kind of run."""
