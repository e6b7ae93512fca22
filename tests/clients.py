"""Clients of a service: requests all the while, and what came of each.

Knows HTTP and what the demo image answers. Must not know why a test asks, nor anything of a cluster. One half of the
clients keeps its connections, as a change can lose what is on an old connection and not what is on a new one.
"""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.clusters import eventually

CLIENTS = 3
ANSWER_S = 10.0


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether anybody takes connections there, with or without an answer to them."""
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def served(port: int, host: str = "127.0.0.1") -> bool:
    """Whether requests are answered there. An entry takes connections before it knows of any task."""
    connection = http.client.HTTPConnection(host, port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Requests:
    """What came of the requests of several clients, one half of them on connections that they keep."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._stopped = threading.Event()
        self.seconds: list[float] = []
        self.versions: set[str] = set()
        self.failures: list[str] = []
        """What went wrong, and when, counted from the first request."""
        self._began = time.perf_counter()

    def client(self, keeps: bool) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=ANSWER_S)
        while not self._stopped.wait(0.002):
            began = time.perf_counter()
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200 or not text.startswith(b"hello from"):
                    self._failed(began, f"{answer.status} {text[:100]!r}")
                self.versions.add(answer.headers.get("Longshore-Demo") or "1")
            except (OSError, http.client.HTTPException) as failure:
                self._failed(began, f"{type(failure).__name__}: {failure}")
                connection.close()
            self.seconds.append(time.perf_counter() - began)
            if not keeps:
                connection.close()
        connection.close()

    def _failed(self, at: float, words: str) -> None:
        self.failures.append(f"at {at - self._began:.3f} s: {words}")

    def told(self, seconds: float) -> str:
        times = sorted(self.seconds)
        p99 = times[int(len(times) * 0.99)] * 1000
        return (
            f"{len(times)} requests, {len(self.failures)} failed, {len(times) / seconds:.0f}/s, p99 {p99:.1f} ms, "
            f"slowest {times[-1] * 1000:.0f} ms"
        )

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def requests(port: int, what: str, *, host: str = "127.0.0.1", may_fail: int = 0) -> Iterator[Requests]:
    """Requests all the while; fails if one of them did, or more than may."""
    seen = Requests(host, port)
    threads = [threading.Thread(target=seen.client, args=(number % 2 == 0,)) for number in range(2 * CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(seen.seconds) > 50)
        yield seen
        enough = len(seen.seconds) + 100
        eventually(lambda: len(seen.seconds) > enough)
    finally:
        seen.stop()
        for thread in threads:
            thread.join()
        print(f"{what}: {seen.told(time.perf_counter() - began)}")
    assert len(seen.failures) <= may_fail, seen.failures[: may_fail + 5]
