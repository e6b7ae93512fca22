"""Which cluster is meant, and with which token: from flags, the environment, or a manager's data folder.

Knows the names of the variables and of the two files that a manager leaves for its own machine. Must not know how a
connection is made. The rule worth a module: a secret found in a data folder opens the manager of that folder, so it is
sent there or to this machine and nowhere else, however the address came about.
"""

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from longshore.model.errors import Denied, Invalid

DEFAULT_PORT = 7440
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
TOKEN_FILE = "admin.token"
MANAGER_FILE = "manager.json"

_HOST_AND_PORT = re.compile(r"(\[[^\]]+\]|[^:\[\]]+):\d+")


class _ManagerRecord(msgspec.Struct, frozen=True):
    """What a manager writes into its data folder once it serves."""

    url: str


class Target(msgspec.Struct, frozen=True):
    """Where to ask, and what to show at the door."""

    url: str
    token: str | None

    @classmethod
    def find(
        cls,
        url: str | None = None,
        token_file: str | Path | None = None,
        data_dir: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        *,
        spare: str | None = None,
        default: str = DEFAULT_URL,
    ) -> "Target":
        """Flags, then the environment, then the default data folder. A data folder that is named speaks with the rank
        of its naming: `--data` goes before `LONGSHORE_URL`, because it says where and with what at once.

        `spare` is an address that somebody else's variables name: it goes behind all that was said to us, and before
        what merely lies in the default folder. `default` is where to look when nothing says anything.

        Raises Invalid if an address or a file makes no sense, Denied if there is no token that may go there.
        """
        env = os.environ if env is None else env
        places = _places(data_dir, env)
        flagged, named, standing = places
        said = url or _url_in(flagged) or env.get("LONGSHORE_URL") or _url_in(named)
        found = said or spare or _url_in(standing) or default
        where = checked_url(found)
        token = (
            _token_in_file(token_file)
            or _token_of(flagged, where)
            or _token(env.get("LONGSHORE_TOKEN", ""), "LONGSHORE_TOKEN")
            or _token_in_file(env.get("LONGSHORE_TOKEN_FILE"))
            or _token_of(named, where)
            or _token_of(standing, where)
        )
        if token is None and not is_loopback(where):
            raise Denied(_no_token(where, places))
        return cls(where, token)


def default_data_dir() -> Path:
    """Where a manager or worker of this user keeps its files unless told otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/longshore")
    return Path.home() / ".local" / "share" / "longshore"


def chosen_data_dir(flag: str | Path | None, env: Mapping[str, str]) -> Path:
    """The data folder by the usual precedence: flag, `LONGSHORE_DATA`, default."""
    return Path(flag or env.get("LONGSHORE_DATA") or default_data_dir())


def checked_url(url: str) -> str:
    """The address in one spelling, without a slash at its end. Raises Invalid."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"{url} is not an address: {error}", field="url") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Invalid(f"{url} is not an address such as {DEFAULT_URL}", field="url")
    if parts.username is not None or parts.query or parts.fragment:
        raise Invalid("an address has no user name, query or fragment; tokens go into --token-file", field="url")
    host = _reachable(parts.hostname)
    where = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{where}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def url_of(host: str, port: int) -> str:
    """The address of a manager that is named by host and port. A host that is a whole address already keeps its own
    port, and one that has a port (`10.0.0.1:5555`, `[::1]:5555`) too."""
    if "://" in host:
        return checked_url(host)
    if _HOST_AND_PORT.fullmatch(host):
        return checked_url(f"http://{host}")
    bare = host.removeprefix("[").removesuffix("]")
    where = f"[{bare}]" if ":" in bare else bare
    return checked_url(f"http://{where}:{port}")


def is_loopback(url: str) -> bool:
    """Whether only this machine can be meant. Names other than `localhost` are not looked up: who answers for a name
    is not ours to trust with a secret."""
    host = urlsplit(url).hostname or ""
    if host in ("localhost", "::1"):
        return True
    try:
        return socket.inet_pton(socket.AF_INET, host)[0] == 127
    except OSError:
        return False


def _reachable(host: str) -> str:
    """A manager that listens everywhere writes so; nobody can dial `everywhere`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _places(data_dir: str | Path | None, env: Mapping[str, str]) -> tuple[Path | None, Path | None, Path | None]:
    """The data folder as the flag, the environment and the default name it. The default is out once one is named."""
    flagged = Path(data_dir) if data_dir else None
    named = Path(env["LONGSHORE_DATA"]) if env.get("LONGSHORE_DATA") and flagged is None else None
    return flagged, named, default_data_dir() if flagged is None and named is None else None


def _url_in(folder: Path | None) -> str | None:
    """The address of the manager that keeps this folder."""
    path = folder / MANAGER_FILE if folder else None
    text = _content(path)
    if not text:
        return None
    try:
        return checked_url(msgspec.json.decode(text, type=_ManagerRecord).url)
    except (msgspec.MsgspecError, Invalid) as error:
        raise Invalid(f"{path} does not say where its manager is ({error}); start the manager again") from error


def _token_of(folder: Path | None, url: str) -> str | None:
    """The folder's own token, if it may be shown at `url`."""
    if folder is None or not (is_loopback(url) or _url_in(folder) == url):
        return None
    return _token(_content(folder / TOKEN_FILE), str(folder / TOKEN_FILE))


def _token_in_file(path: str | Path | None) -> str | None:
    if not path:
        return None
    token = _token(_content(Path(path)), str(path))
    if token is None:
        there = Path(path).exists()
        words = f"the token file {path} is empty" if there else f"there is no token file {path}"
        raise Invalid(words, field="token-file")
    return token


def _token(text: str, source: str) -> str | None:
    """A token, or None for nothing. What has spaces in it would break out of its header."""
    token = text.strip()
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise Invalid(f"{source} does not hold a token: it has to be one word")
    return token or None


def _content(path: Path | None) -> str:
    """A file's text; empty if there is none."""
    if path is None:
        return ""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except PermissionError as error:
        raise Denied(f"{path} may not be read by this user; use sudo, or give --token-file and --url") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {path}: {error}") from error


def _no_token(url: str, places: tuple[Path | None, ...]) -> str:
    for folder in places:
        if folder is not None and _content(folder / TOKEN_FILE).strip():
            return (
                f"no token for {url}: the one in {folder / TOKEN_FILE} belongs to another manager and was not sent; "
                "give --token-file FILE or set LONGSHORE_TOKEN"
            )
    return f"no token for {url}; give --token-file FILE or set LONGSHORE_TOKEN"
