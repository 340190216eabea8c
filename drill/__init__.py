"""Faults on the real processes, and the ledger's verdict on what was left.

Stands on `dev` (the servers and the Procfile's processes) and on `loadtest` (the ledger
and its checks); the application is seen from outside only.
"""
