"""Who may come in: a bearer token for every path but those that are open to anyone, found or not.

Knows tokens and roles. Must not know what lies behind a route. Denied by default: a path that nobody declared needs an
admin's token before it is even said not to exist, so a route that is forgotten here is closed, not open.
Without authentication (loopback only) the asker's browser is the danger instead: a page from elsewhere must not reach
the API through it, be it by its own name (Origin) or by a name that it points at 127.0.0.1 (Host).
"""

from aiohttp import web

from longshore.api.origin import check_same_site
from longshore.api.routes import ADMINS, Deps, Route
from longshore.control import tokens
from longshore.model.errors import Denied
from longshore.model.objects import Role, Token


def admitted(deps: Deps, request: web.Request, route: Route | None) -> Token | None:
    """The asker's token; None if nobody needs to say who they are. Raises Denied."""
    opens_to = route.opens_to if route is not None else ADMINS
    if opens_to is None:
        return None
    if not deps.auth:
        check_same_site(request)
        # A worker's token still says which node it is; anyone else's would say nothing.
        if Role.NODE not in opens_to or "Authorization" not in request.headers:
            return None
    token = _verified(deps, request)
    if token.role not in opens_to:
        raise Denied(f"a token of role {token.role} does not open this", known=True)
    return token


def _verified(deps: Deps, request: web.Request) -> Token:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if not secret:
        raise Denied("this needs a token: Authorization: Bearer SECRET")
    if scheme.lower() != "bearer" or not secret.isascii():
        raise Denied("the Authorization header is not Bearer SECRET")
    token = tokens.verify(deps.store.read(), secret.strip(), deps.clock.now())
    if token is None:
        raise Denied("the token is unknown, expired or revoked")
    return token
