"""Tokens: who may come in. A secret is in the answer that makes it and nowhere else."""

from aiohttp import web

from longshore.api import pages
from longshore.api.routes import Ask, NoQuery, route
from longshore.api.wire import answer
from longshore.model.views import Page, TokenView, TokenWish


@route("GET", "/v1/tokens", "List tokens", {200: Page[TokenView]})
async def list_tokens(ask: Ask[pages.PageQuery, None]) -> web.StreamResponse:
    after = pages.unwrap(ask.query.after) or ""
    views = (view for view in ask.deps.operations.tokens() if _age(view) > after)
    return answer(200, pages.part(views, _age, ask.query.limit))


@route("POST", "/v1/tokens", "Make a token", {201: TokenView})
async def create_token(ask: Ask[NoQuery, TokenWish]) -> web.StreamResponse:
    return answer(201, await ask.deps.operations.create_token(ask.body), {"Cache-Control": "no-store"})


@route("DELETE", "/v1/tokens/{id}", "Revoke a token", {204: None}, refuses=(409,))
async def revoke_token(ask: Ask[NoQuery, None]) -> web.StreamResponse:
    await ask.deps.operations.revoke_token(ask.key)
    return answer(204, None)


def _age(token: TokenView) -> str:
    """A key by which the oldest is first."""
    return f"{token.created_at:020.6f} {token.id}"


ROUTES = (list_tokens, create_token, revoke_token)
