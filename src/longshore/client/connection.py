"""One HTTP connection to a manager: requests, answers, and what their failures mean to whoever asked.

Knows http.client (aiohttp would cost a command a sixth of a second before its first byte), sockets, and which status is
which failure. Must not know routes or types. A connection is kept for the next request; streams get one of their own.
"""

import http.client
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urlencode, urlsplit

import msgspec

from longshore.model.errors import Compacted, Conflict, Denied, Failure, Invalid, NotFound, Refused, Unavailable
from longshore.model.views import Problem

CONNECT_S = 5.0
ANSWER_S = 30.0

FAILURE_OF: dict[int, type[Failure]] = {
    400: Invalid,
    401: Denied,
    403: Denied,
    404: NotFound,
    405: Invalid,
    409: Conflict,
    410: Compacted,
    412: Conflict,
    413: Invalid,
    415: Invalid,
    429: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
"""The edge's table, read backwards; 429, 502 and 504 are what a proxy in between says. Anything else is refused."""

Query = Mapping[str, str | int | float | bool | None]


class _ShortProblem(msgspec.Struct, frozen=True):
    """An error as the routes beside /v1 tell it, for clients that know no problem details."""

    message: str = msgspec.field(name="Message")


class Answer(msgspec.Struct, frozen=True):
    """An answer, whole."""

    status: int
    body: bytes
    etag: str | None


class Connection:
    """Requests to one manager. May be shared by threads; they take turns."""

    def __init__(self, url: str, token: str | None, *, answer_s: float = ANSWER_S) -> None:
        self.url = url
        self._parts = urlsplit(url)
        self._token = token
        self._answer_s = answer_s
        self._kept: http.client.HTTPConnection | None = None
        self._turn = threading.Lock()

    def close(self) -> None:
        with self._turn:
            self._drop()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> Answer:
        """One request, answered. Raises the failure that the answer names, Unavailable if there is none.

        `repeatable` allows a second try if the kept connection turns out to be dead: what the first one did, if it
        arrived at all, the second one does not do again.
        """
        with self._turn, self._translated():
            reused = self._kept is not None and not self._stale()
            try:
                answer = self._exchange(method, path, query, body, headers)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if not (reused and repeatable):
                    raise
                answer = self._exchange(method, path, query, body, headers)
        if answer.status >= http.HTTPStatus.MULTIPLE_CHOICES:
            raise failure_of(answer.status, answer.body, self.url)
        return answer

    @contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        silence_s: float | None,
    ) -> Iterator[http.client.HTTPResponse]:
        """A GET whose answer is read bit by bit, on a connection of its own; silence longer than `silence_s` ends it
        (None: never). Whatever goes wrong before the block or inside it comes out as a failure.
        """
        with self._translated():
            connection = self._connect()
            sock = connection.sock  # http.client forgets it once the answer says that the connection will close
            try:
                connection.request("GET", self._address(path, query), headers=self._headers(None, headers))
                response = connection.getresponse()
                if response.status != http.HTTPStatus.OK:
                    raise failure_of(response.status, response.read(), self.url)
                sock.settimeout(silence_s)
                yield response
            finally:
                connection.close()

    # -- inside

    def _exchange(
        self, method: str, path: str, query: Query | None, body: bytes | None, headers: Mapping[str, str] | None
    ) -> Answer:
        if self._kept is None:
            self._kept = self._connect()
        try:
            self._kept.request(method, self._address(path, query), body=body, headers=self._headers(body, headers))
            response = self._kept.getresponse()
            content = response.read()
        except BaseException:
            # Whatever it was, Ctrl-C included: half an answer may be left on it for the next request to read.
            self._drop()
            raise
        if response.will_close:
            self._drop()
        return Answer(response.status, content, response.headers["ETag"])

    def _connect(self) -> http.client.HTTPConnection:
        host = self._parts.hostname
        assert host is not None, "Target has checked it"
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, self._parts.port, timeout=CONNECT_S)
        try:
            connection.connect()
        except UnicodeError as error:  # of a name's parts, each has at most 63 letters and at least one
            raise Invalid(f"{self.url} names no machine: {error}", field="url") from error
        # A machine that vanishes says nothing: without this a quiet stream would wait for it for ever.
        for option, value in ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
            connection.sock.setsockopt(socket.IPPROTO_TCP, option, value)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.sock.settimeout(self._answer_s)
        return connection

    def _drop(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _stale(self) -> bool:
        """Drop the kept connection if the manager has hung up meanwhile: a socket that can be read before anything was
        asked has come to its end. Without this look, a request that may not be repeated would fail for nothing."""
        sock = self._kept.sock if self._kept is not None else None
        if sock is not None:
            poll = select.poll()
            poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
            if not poll.poll(0):
                return False
        self._drop()
        return True

    def _address(self, path: str, query: Query | None) -> str:
        given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        return f"{self._parts.path}{path}{'?' + urlencode(given) if given else ''}"

    def _headers(self, body: bytes | None, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = {"Accept": "application/json", **(more or {})}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The one place where what sockets and http.client raise becomes ours."""
        try:
            yield
        except ConnectionRefusedError as error:
            raise Unavailable(
                f"nobody answers at {self.url}; start a manager there with `longshore manager`, "
                "or name another with --url"
            ) from error
        except TimeoutError as error:
            raise Unavailable(
                f"{self.url} did not answer in time; look at the manager and the way there, then try again"
            ) from error
        except ssl.SSLError as error:
            raise Unavailable(
                f"no trusted connection to {self.url} ({error.reason or error}); "
                "SSL_CERT_FILE names the authority to trust"
            ) from error
        except OSError as error:
            raise Unavailable(
                f"cannot reach {self.url} ({error.strerror or error}); check --url and the way there"
            ) from error
        except http.client.HTTPException as error:
            raise Unavailable(
                f"{self.url} broke off or does not speak HTTP ({type(error).__name__}); check --url, then try again"
            ) from error


def failure_of(status: int, body: bytes, url: str) -> Failure:
    """What a bad answer means to the asker."""
    detail, field = _told(status, body)
    kind = FAILURE_OF.get(status)
    if kind is None:
        return Refused(f"{url} answered {status}: {detail}; is it a manager? Its log may say more")
    if kind is Denied:
        known = status == http.HTTPStatus.FORBIDDEN
        return Denied(detail if known else f"{detail}; give --token-file FILE or set LONGSHORE_TOKEN", known=known)
    if kind is Unavailable:
        detail = f"{url} cannot now: {detail}; try again"
    return kind(detail, field=field)


def _told(status: int, body: bytes) -> tuple[str, str | None]:
    """Detail and field of a problem in either form; of anything else the beginning, on one line."""
    with suppress(msgspec.MsgspecError):
        problem = msgspec.json.decode(body, type=Problem)
        return problem.detail or problem.title, problem.field
    with suppress(msgspec.MsgspecError):
        return " ".join(msgspec.json.decode(body, type=_ShortProblem).message.split()), None
    text = " ".join(body[:500].decode("utf-8", "replace").split())[:200]
    return text or http.client.responses.get(status, "no reason given"), None


def _text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
