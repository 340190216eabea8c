"""Ports for servers that tests start."""

import socket
from contextlib import closing
from random import SystemRandom

# Below those that Linux gives to outgoing connections, of which tests make thousands: none
# of them takes the port before the server does.
_PORTS = range(10_000, 32_000)
# Other processes of the run choose, too, and their `random` may have the same seed.
_chance = SystemRandom()


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    while True:
        port = _chance.choice(_PORTS)
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
