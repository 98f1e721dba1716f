"""A TCP relay in a thread, for processes that are to reach the broker through it: it cuts, and swallows without a word."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class BlackHole:
    """Relays to a port of this machine; a context manager. `swallow` makes its present connections dead, and nobody is told."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._swallowed: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def swallow(self, *, only_answers: bool = False) -> None:
        """What either side (or only the broker) sends on the present connections arrives nowhere any more; new ones are whole."""
        with self._lock:
            for client, server in self._pairs:
                self._swallowed.add(server)
                if not only_answers:
                    self._swallowed.add(client)

    def cut(self) -> None:
        """Reset the present connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._pairs.append((client, server))
            alive = [2]
            for source, sink in ((client, server), (server, client)):
                thread = threading.Thread(target=self._pump, args=(source, sink, alive))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, alive: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    swallowed = source in self._swallowed
                if not swallowed:
                    sink.sendall(data)
        with self._lock:
            silent = bool(self._swallowed & {source, sink})
            alive[0] -= 1
            last = not alive[0]
        if not silent:  # a dead line tells nobody of an end either
            for end in (source, sink):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        if last:
            for end in (source, sink):
                end.close()
