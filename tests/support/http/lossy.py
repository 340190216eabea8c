"""A Redis whose replies get lost on the way: the real one, behind a connection that breaks."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

_CHUNK_BYTES = 65536


class LossyWay:
    """Forwards bytes to a server and back, until it is told to lose a reply."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = Lock()
        self._sockets: list[socket.socket] = []
        self._fatal_word: bytes | None = None
        self._meanwhile: Callable[[], object] = lambda: None
        self._breaks = False
        self.has_lost = Event()
        Thread(target=self._accept, daemon=True).start()

    def lose_reply(self, word: str, meanwhile: Callable[[], object], *, breaks: bool) -> None:
        """Keep back the reply to the next request with this word in it.

        What happens `meanwhile` does after the request was carried out. Then the connection
        breaks, or stays silent.
        """
        self._fatal_word, self._meanwhile, self._breaks = word.encode(), meanwhile, breaks

    def cut(self) -> None:
        """End all connections, as a firewall does with idle ones."""
        with self._lock:
            for end in self._sockets:
                _shut(end)
            self._sockets.clear()

    def close(self) -> None:
        _shut(self._listener)
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                with self._lock:
                    self._sockets += (client, server)
                Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Carry one request after the other; a client of Redis sends none before its reply."""
        is_doomed = Event()
        back = Thread(target=self._carry_back, args=(server, client, is_doomed), daemon=True)
        back.start()
        for request in _chunks(client):
            with self._lock:
                if self._fatal_word and self._fatal_word in request:
                    self._fatal_word = None
                    is_doomed.set()
            server.sendall(request)
        _shut(server)

    def _carry_back(self, server: socket.socket, client: socket.socket, is_doomed: Event) -> None:
        for reply in _chunks(server):
            if is_doomed.is_set():
                self._lose(client)
            else:
                client.sendall(reply)
        _shut(client)

    def _lose(self, client: socket.socket) -> None:
        if not self.has_lost.is_set():
            self._meanwhile()
            self.has_lost.set()
        if self._breaks:
            _shut(client)


@contextmanager
def lossy_way(host: str, port: int) -> Iterator[LossyWay]:
    """A way to this server."""
    way = LossyWay((host, port))
    try:
        yield way
    finally:
        way.close()


def _chunks(source: socket.socket) -> Iterator[bytes]:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            yield chunk


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
