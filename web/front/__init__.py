"""The layer between uvicorn and Flask; see docs/explanation/architecture.md.

`sockets` serves watchers, `bridge` and `overload` pass requests to Flask's threads, and
`server`, `http` and `websocket` extend uvicorn.
"""
