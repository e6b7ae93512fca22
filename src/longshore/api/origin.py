"""Where a request without a token may come from: this machine, and not through a page from elsewhere.

Knows two headers and what loopback is. A door without tokens is open to every program here, a browser among them, and
that one does what pages tell it: Host and Origin are what gives such a page away.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from longshore.model.errors import Denied


def check_same_site(request: web.Request) -> None:
    """What a door without tokens asks of a browser. Raises Denied."""
    host = request.headers.get("Host", "")
    if not _is_loopback(host):
        raise Denied("without tokens this manager answers only to localhost", known=True)
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise Denied("without tokens this manager answers only to its own pages", known=True)


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False
