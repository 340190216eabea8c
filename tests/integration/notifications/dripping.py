"""A server that drips: a byte now and then, and never all that is waited for."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread


@contextmanager
def dripping(first: bytes) -> Iterator[int]:
    """Its port. To each connection it says `first`, then spaces, one by one."""
    stop = Event()
    threads: list[Thread] = []

    def drip(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(first)
            while not stop.wait(0.02):
                connection.sendall(b" ")

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(Thread(target=drip, args=(connection,)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = Thread(target=accept, args=(listener,))
        accepting.start()
        yield listener.getsockname()[1]
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for thread in threads:
        thread.join()
