"""The user's verbs: read the world, decide, commit, and look again if the world moved meanwhile.

Every door (API, foreign APIs, `longshore dev`) does what it does through here, so that a rule holds at all of them.
Knows the store, the clock and the decisions; not HTTP, not who asks. A caller that names the revision it saw
(`if_match`) is told when that is no longer the current one; nobody else hears of a conflict that another look resolves.
"""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from longshore.control import tokens
from longshore.control.showing import (
    NOTHING_LEFT,
    app_view,
    node_view,
    removed_view,
    removing_view,
    service_view,
    token_view,
    volume_view,
)
from longshore.decide import rebalance, wishes
from longshore.decide.placement.volumes import forget, set_place
from longshore.decide.plan import DecideService, Place, plan
from longshore.decide.status import removing, status_of
from longshore.decide.why import Explanation, sequel_of, waiting, why
from longshore.decide.why_service import of_service
from longshore.model.changes import Change, deleted
from longshore.model.errors import Conflict, Invalid, NotFound, Unavailable
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.moves import Rebalance, RebalanceWish
from longshore.model.objects import Kind, Node, NodeStats, Role, Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import ServiceSpec
from longshore.model.views import (
    AppView,
    NodePatch,
    NodeView,
    Plan,
    ServiceView,
    ServiceWhy,
    ServiceWish,
    TokenView,
    TokenWish,
    VolumeView,
    Why,
)
from longshore.ports import Clock, Store

LOOKS_MAX = 20
"""Times that a verb looks again. Each time another commit won, so the cluster as a whole moves on."""
TOKEN_USES_MAX = 1_000_000
TOKEN_LIFETIME_MAX_S = 100 * 365 * 86_400.0

Explain = Callable[[Snapshot, Task, float], Explanation]
Usage = Callable[[str], NodeStats | None]
Decide = Callable[[Snapshot, float], list[Change]]


class Operations:
    """The verbs of one manager. Asking is immediate; what changes something is awaited until it is durable."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        policy: str,
        *,
        decide_services: DecideService,
        place: Place,
        explain: Explain,
        usage: Usage,
    ) -> None:
        self._store = store
        self._clock = clock
        self.policy = policy
        """Name of the placement policy that `place` and `explain` follow."""
        self._decide_services = decide_services
        self._place = place
        self._explain = explain
        self._usage = usage

    # -- services

    async def apply_service(
        self,
        name: str,
        wish: ServiceWish,
        *,
        if_match: int | None = None,
        create_only: bool = False,
        author: str = "",
    ) -> tuple[ServiceView, bool]:
        """Create or update a service; also tells whether it was created."""

        def decide(world: Snapshot, now: float) -> list[Change]:
            current = world.services.get(name)
            if create_only and current is not None:
                raise Conflict(f"service {name} exists already")
            _check_revision(f"service {name}", current, if_match)
            return wishes.apply_service(world, name, wish, now, author=author)

        before = await self.land(decide)
        return self.service_view(name), name not in before.services

    async def scale(self, name: str, replicas: int, *, if_match: int | None = None) -> ServiceView:
        def decide(world: Snapshot, now: float) -> list[Change]:
            _check_revision(f"service {name}", world.services.get(name), if_match)
            return wishes.scale(world, name, replicas, now)

        await self.land(decide)
        return self.service_view(name)

    async def restart(self, name: str, *, if_match: int | None = None, author: str = "") -> ServiceView:
        def decide(world: Snapshot, now: float) -> list[Change]:
            _check_revision(f"service {name}", world.services.get(name), if_match)
            return wishes.restart(world, name, now, author=author)

        await self.land(decide)
        return self.service_view(name)

    async def roll_back(self, name: str, to: int | None) -> ServiceView:
        await self.land(lambda world, now: wishes.roll_back(world, name, to, now))
        return self.service_view(name)

    async def pause_rollout(self, name: str) -> ServiceView:
        await self.land(lambda world, now: wishes.pause_rollout(world, name))
        return self.service_view(name)

    async def resume_rollout(self, name: str) -> ServiceView:
        await self.land(lambda world, now: wishes.resume_rollout(world, name, now))
        return self.service_view(name)

    async def remove_service(self, name: str, *, if_match: int | None = None) -> ServiceView:
        """Returns the service as it was, in phase removing; its tasks are stopped from now on."""

        def decide(world: Snapshot, now: float) -> list[Change]:
            _check_revision(f"service {name}", world.services.get(name), if_match)
            return wishes.remove_service(world, name)

        before = await self.land(decide)
        return service_view(before.services[name], removing(self._store.read(), name) or NOTHING_LEFT)

    def service_view(self, name: str) -> ServiceView:
        """Also of a service that was removed, while its tasks still go."""
        world = self._store.read()
        service = world.services.get(name)
        view = service_view(service, status_of(world, service)) if service is not None else removed_view(world, name)
        if view is None:
            raise NotFound(f"there is no service {name}")
        return view

    def services(self, app: str | None = None) -> list[ServiceView]:
        """By name; those that are being removed belong to no app any more."""
        world = self._store.read()
        names = world.services.keys() if app is not None else world.services.keys() | world.services_with_tasks.keys()
        views = []
        for name in sorted(names):
            service = world.services.get(name)
            if service is None:
                gone = removed_view(world, name)
                views += [gone] if gone is not None else []
            elif app is None or service.app == app:
                views.append(service_view(service, status_of(world, service)))
        return views

    # -- apps

    async def apply_app(self, app: str, specs: Mapping[str, ServiceSpec], *, author: str = "") -> AppView:
        before = await self.land(lambda world, now: wishes.apply_app(world, app, specs, now, author=author))
        return self.app_view(app) if specs else removing_view(before, app)

    async def remove_app(self, app: str) -> AppView:
        before = await self.land(lambda world, now: wishes.remove_app(world, app))
        return removing_view(before, app)

    def app_view(self, app: str) -> AppView:
        world = self._store.read()
        services = wishes.services_of_app(world, app)
        if not services:
            raise NotFound(f"there is no app {app}")
        return app_view(world, app, services)

    def apps(self) -> list[AppView]:
        """By name."""
        world = self._store.read()
        services_of: dict[str, list[Service]] = {}
        for _, service in sorted(world.services.items()):
            if service.app:
                services_of.setdefault(service.app, []).append(service)
        return [app_view(world, app, services) for app, services in sorted(services_of.items())]

    def plan(self, app: str, specs: Mapping[str, ServiceSpec]) -> Plan:
        """What `apply_app` would do. Changes nothing."""
        return plan(
            self._store.read(),
            app,
            specs,
            self._clock.now(),
            decide_services=self._decide_services,
            place=self._place,
        )

    def why_service(self, name: str) -> ServiceWhy:
        world = self._store.read()
        service = world.services.get(name)
        if service is None:
            view = self.service_view(name)  # it goes, or is not known
            return ServiceWhy(service=name, summary=f"{name} was removed; {view.status.message}.", task=None)
        summary, task = of_service(world, service)
        return ServiceWhy(service=name, summary=summary, task=self.why(task.id) if task is not None else None)

    async def rebalance(self, wish: RebalanceWish, *, dry_run: bool = False) -> Rebalance:
        """Have those tasks moved that make the cluster more even; with `dry_run` only say which."""
        planned = rebalance.plan(self._store.read(), self.policy, self._clock.now(), wish)
        if dry_run:
            return planned

        def decide(world: Snapshot, now: float) -> list[Change]:
            nonlocal planned
            planned = rebalance.plan(world, self.policy, now, wish)
            return rebalance.mark(world, planned, Owner.USER)

        await self.land(decide)
        return planned

    # -- tasks

    def why(self, task_id: str) -> Why:
        world = self._store.read()
        task = world.task(task_id)
        if task is None:
            raise NotFound(f"there is no task {task_id}")
        waits = task.state is State.NEW and task.wanted is Wanted.RUNNING
        explanation = self._explain(world, task, self._clock.now()) if waits else None
        return why(
            task, self._store.story(Kind.TASK, task_id), explanation, sequel_of(world, task), waiting(world, task)
        )

    # -- nodes

    async def patch_node(self, name: str, patch: NodePatch, *, if_match: int | None = None) -> NodeView:
        def decide(world: Snapshot, now: float) -> list[Change]:
            _check_revision(f"node {name}", world.nodes.get(name), if_match)
            return wishes.patch_node(world, name, patch, now)

        await self.land(decide)
        return self.node_view(name)

    async def register_node(self, name: str, *, healthy: bool, dial: str = "") -> NodeView:
        """A node without a worker yet."""
        await self.land(lambda world, now: wishes.register_node(world, name, healthy, dial, now))
        return self.node_view(name)

    async def mark_node(self, name: str, *, healthy: bool) -> NodeView:
        """Take a node out of placement, or back in."""
        await self.land(lambda world, now: wishes.mark_node(world, name, healthy))
        return self.node_view(name)

    async def dismiss_node(self, name: str) -> None:
        """Have a node give up its tasks, and forget it then."""
        await self.land(lambda world, now: wishes.dismiss_node(world, name))

    async def remove_node(self, name: str, *, if_match: int | None = None) -> None:
        def decide(world: Snapshot, now: float) -> list[Change]:
            _check_revision(f"node {name}", world.nodes.get(name), if_match)
            return wishes.remove_node(world, name)

        await self.land(decide)

    def node_view(self, name: str) -> NodeView:
        world = self._store.read()
        node = world.nodes.get(name)
        if node is None:
            raise NotFound(f"there is no node {name}")
        return node_view(world, node, self._usage(node.name))

    def nodes(self) -> list[NodeView]:
        """By name."""
        world = self._store.read()
        return [node_view(world, node, self._usage(node.name)) for _, node in sorted(world.nodes.items())]

    # -- tokens

    async def create_token(self, wish: TokenWish) -> TokenView:
        """The one answer that has the token's secret."""
        _check_token(wish)
        token, secret = tokens.mint(wish.role, now=self._clock.now(), uses=wish.uses, lifetime_s=wish.lifetime_s)
        change = Change(
            kind=Kind.TOKEN,
            id=token.id,
            before=0,
            after=token,
            by=Owner.USER,
            reason=Reason.TOKEN_CREATED,
        )
        await self.land(lambda world, now: [change])
        return replace(token_view(token), secret=secret)

    def tokens(self) -> list[TokenView]:
        """Oldest first."""
        known = self._store.read().tokens.values()
        return [token_view(token) for token in sorted(known, key=lambda token: (token.created_at, token.id))]

    async def revoke_token(self, id: str) -> None:
        def decide(world: Snapshot, now: float) -> list[Change]:
            token = world.tokens.get(id)
            if token is None:
                raise NotFound(f"there is no token {id}")
            return [deleted(Kind.TOKEN, id, token.revision, Owner.USER, Reason.TOKEN_REVOKED)]

        await self.land(decide)

    # -- volumes

    def volumes(self) -> list[VolumeView]:
        """By id."""
        world = self._store.read()
        return [volume_view(world, volume) for _, volume in sorted(world.volumes.items())]

    async def place_volume(self, id: str, node: str) -> VolumeView:
        await self.land(lambda world, now: set_place(world, id, node))
        world = self._store.read()
        volume = world.volumes.get(id)
        if volume is None:
            raise NotFound(f"volume {id} was forgotten meanwhile")
        return volume_view(world, volume)

    async def forget_volume(self, id: str) -> None:
        await self.land(lambda world, now: forget(world, id))

    # -- how all of them land

    async def land(self, decide: Decide) -> Snapshot:
        """Decide on the newest world until the decision lands on it; returns the world that it was decided on."""
        for _ in range(LOOKS_MAX):
            world = self._store.read()
            changes = decide(world, self._clock.now())
            try:
                if changes:
                    await self._store.commit(changes)
            except Conflict:
                continue
            return world
        raise Unavailable(f"others changed the same {LOOKS_MAX} times in a row; try again")


def _check_revision(what: str, current: Service | Node | None, if_match: int | None) -> None:
    if if_match is not None and (current is None or current.revision != if_match):
        now = f"is at revision {current.revision}" if current is not None else "does not exist"
        raise Conflict(f"{what} {now}, not at {if_match}; look again")


def _check_token(wish: TokenWish) -> None:
    if wish.role is Role.NODE:
        raise Invalid("a node's token is made when its worker joins; make a join token instead", field="role")
    if wish.uses is not None and not 1 <= wish.uses <= TOKEN_USES_MAX:
        raise Invalid(f"a token is for 1 to {TOKEN_USES_MAX} uses; null is any number", field="uses")
    # Written so that NaN is refused too.
    if wish.lifetime_s is not None and not 0 < wish.lifetime_s <= TOKEN_LIFETIME_MAX_S:
        raise Invalid("a token lives for more than 0 seconds, up to a century; null is for ever", field="lifetime_s")
