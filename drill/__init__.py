"""Injects faults into the real processes and verifies the ledger afterwards.

Built on `dev` (servers and Procfile processes) and `loadtest` (the ledger and its checks).
The application is only accessed from outside.
"""
