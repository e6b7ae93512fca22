"""Rebalancing: the moves that would make the cluster more even, shown or begun."""

import msgspec
from aiohttp import web

from longshore.api.routes import Ask, route
from longshore.api.wire import answer
from longshore.model.moves import Rebalance, RebalanceWish


class RebalanceQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dry_run: bool = False
    """Only say what would be done."""


@route("POST", "/v1/rebalance", "Move tasks so that the cluster is more even", {200: Rebalance})
async def rebalance(ask: Ask[RebalanceQuery, RebalanceWish]) -> web.StreamResponse:
    return answer(200, await ask.deps.operations.rebalance(ask.body, dry_run=ask.query.dry_run))


ROUTES = (rebalance,)
