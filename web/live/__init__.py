"""Live boards over WebSockets, in a process of their own; see docs/architecture.md.

The web process takes the browser's request, so that there is one address, and hands the
connection in at the live process (`handing_in`), which takes it over (`taking_over`) and
shows it its session's board (`showing`) until it closes.
"""
