"""Scaled out and being deployed, on the real engines; `make test-scale`."""
