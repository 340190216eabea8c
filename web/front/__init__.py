"""The front door: what stands between uvicorn and Flask; see docs/architecture.md.

The lane answers bids and boards, the sockets serve watchers, and the bridge gives Flask
everything else. Of the server itself only `server` knows.
"""
