"""What happens in a world and when: the user's wishes and the faults, drawn from the seed before anything begins.

A script is a value: it can be printed, shortened and replayed. Its lines name things loosely ("some running container")
by a number, which is resolved against the world at that moment, so that a line means something in any world.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from longshore.control.operations import Operations
from longshore.model.containers import Status
from longshore.model.errors import Conflict, NotFound, Unavailable
from longshore.model.objects import Availability
from longshore.model.spec import (
    HealthCheck,
    Mode,
    PlacementRules,
    Port,
    Resources,
    RestartPolicy,
    ServiceSpec,
)
from longshore.model.views import NodePatch, ServiceWish
from longshore.simulate.world import Site, World

T = TypeVar("T")
NAMES = ("web", "db", "api", "cron", "agent")
RETRY_S = 0.5
GAP_S = 6.0
"""Mean time from one line to the next."""


class Line(msgspec.Struct, frozen=True):
    """One line of a script: at this second, this happens, to the `pick`-th thing it could happen to."""

    at: float
    verb: str
    pick: int


def script(rng: random.Random, steps: int) -> tuple[Line, ...]:
    """A script of so many lines, in order of time; the first gives the world something to do."""
    verbs = [verb for verb, weight in WEIGHTS.items() for _ in range(weight)]
    at, lines = 1.0, [Line(0.5, "apply", rng.getrandbits(30))]
    for _ in range(steps):
        lines.append(Line(round(at, 3), rng.choice(verbs), rng.getrandbits(30)))
        at += rng.expovariate(1 / GAP_S)
    return tuple(lines)


def _spec(pick: int) -> ServiceSpec:
    """Some service: of any mode, that fits or does not, that stays or ends."""
    rng = random.Random(pick)
    mode = rng.choice((Mode.REPLICATED, Mode.REPLICATED, Mode.REPLICATED, Mode.GLOBAL, Mode.JOB))
    command: tuple[str, ...] | None = None
    restart = RestartPolicy()
    if mode is Mode.JOB:
        command = rng.choice((("sleep", "5"), ("true",), ("exit", "3")))
        restart = RestartPolicy(attempts_max=2)
    elif rng.random() < 0.15:
        command, restart = ("exit", "1"), RestartPolicy(attempts_max=3)
    return ServiceSpec(
        image=rng.choice(("longshore/demo:1", "longshore/demo:2", "registry/app:7")),
        mode=mode,
        replicas=rng.randint(1, 6),
        command=command,
        restart=restart,
        stop_grace_s=2.0,
        resources=Resources(cpu=rng.choice((0.0, 0.25, 1.0)), memory=rng.choice((0, 64 << 20, 2 << 30))),
        ports=rng.choice(((), (Port(container=80),), (Port(container=80, host=8080),))),
        health=rng.choice((None, HealthCheck(test=("CMD", "true"), interval_s=1.0))),
        placement=PlacementRules(constraints=rng.choice(((), (), ("node.labels.zone==a",)))),
    )


class Player:
    """Plays a script: does what its lines say, and remembers what the user was told is done."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.wishes: dict[str, ServiceSpec] = {}
        self._user = asyncio.Lock()
        """There is one user, who waits for each answer before the next wish: so what was wished last is known."""

    async def play(self, line: Line) -> None:
        if line.verb in WISHES:
            async with self._user:
                await WISHES[line.verb](self, line.pick)
        else:
            await FAULTS[line.verb](self, line.pick)

    # -- the user

    async def _insist(self, ask: Callable[[Operations], Awaitable[T]]) -> T | None:
        """Ask until it is answered; None if there is no such thing (any more)."""
        while True:
            manager = self._world.manager
            try:
                if manager is not None:
                    return await ask(manager.operations)
            except NotFound:
                return None
            except (Unavailable, Conflict):
                pass  # asked again below: a wish is the same however often it is made
            await asyncio.sleep(RETRY_S)

    async def apply(self, pick: int) -> None:
        name, wish = NAMES[pick % len(NAMES)], ServiceWish(spec=_spec(pick))
        self._world.tell(f"the user applies {name}: {wish.spec.mode}, {wish.spec.replicas} replicas, {wish.spec.image}")
        done = await self._insist(lambda operations: operations.apply_service(name, wish))
        assert done is not None
        self.wishes[name] = done[0].spec

    async def scale(self, pick: int) -> None:
        name = _pick(pick, [name for name, spec in self.wishes.items() if spec.mode is not Mode.GLOBAL])
        if name is not None:
            replicas = pick // 7 % 8
            self._world.tell(f"the user scales {name} to {replicas}")
            done = await self._insist(lambda operations: operations.scale(name, replicas))
            if done is not None:
                self.wishes[name] = done.spec

    async def restart(self, pick: int) -> None:
        name = _pick(pick, list(self.wishes))
        if name is not None:
            self._world.tell(f"the user restarts {name}")
            await self._insist(lambda operations: operations.restart(name))

    async def remove(self, pick: int) -> None:
        name = _pick(pick, list(self.wishes))
        if name is not None:
            self._world.tell(f"the user removes {name}")
            await self._insist(lambda operations: operations.remove_service(name))
            del self.wishes[name]

    async def availability(self, pick: int) -> None:
        wanted = _pick(pick // 11, list(Availability)) or Availability.ACTIVE
        await self._set(self._site(pick).name, wanted)

    async def activate(self, pick: int) -> None:
        await self._set(self._site(pick).name, Availability.ACTIVE)

    async def _set(self, name: str, wanted: Availability) -> None:
        self._world.tell(f"the user makes {name} {wanted}")
        await self._insist(lambda operations: operations.patch_node(name, NodePatch(availability=wanted)))

    # -- faults

    def _site(self, pick: int) -> Site:
        return self._world.sites[sorted(self._world.sites)[pick % len(self._world.sites)]]

    def _container(self, pick: int) -> tuple[Site, str] | None:
        running = [
            (site, id)
            for _, site in sorted(self._world.sites.items())
            for id, box in sorted(site.machine.boxes.items())
            if box.status is Status.RUNNING
        ]
        return _pick(pick, running)

    async def exit(self, pick: int) -> None:
        found = self._container(pick)
        if found is not None:
            site, id = found
            self._world.tell(f"a container of {site.machine.boxes[id].order.task} on {site.name} dies")
            site.machine.kill(id, pick // 3 % 3, oom=pick % 5 == 0)

    async def vanish(self, pick: int) -> None:
        found = self._container(pick)
        if found is not None:
            site, id = found
            self._world.tell(f"somebody removes the container of {site.machine.boxes[id].order.task} on {site.name}")
            site.machine.vanish(id)

    async def kill_worker(self, pick: int) -> None:
        site = self._site(pick)
        self._world.kill_worker(site)
        await asyncio.sleep(pick % 97 / 10)
        self._world.start_worker(site)

    async def kill_manager(self, pick: int) -> None:
        self._world.kill_manager()
        await asyncio.sleep(pick % 97 / 10)
        self._world.start_manager()

    async def power_off(self, pick: int) -> None:
        site = self._site(pick)
        self._world.power_off(site)
        await asyncio.sleep(pick % 397 / 10)
        self._world.power_on(site)

    async def cut(self, pick: int) -> None:
        link = self._site(pick).link
        if link is not None:
            self._world.tell(f"the cable of {self._site(pick).name} is cut")
            (link.mute if pick // 2 % 2 else link.cut)()

    async def engine_restart(self, pick: int) -> None:
        site = self._site(pick)
        if site.on:
            self._world.tell(f"the engine of {site.name} restarts")
            site.machine.restart(down_s=pick % 60 / 10)

    async def engine_hangs(self, pick: int) -> None:
        site = self._site(pick)
        if site.on:
            self._world.tell(f"the engine of {site.name} hangs")
            site.machine.hang()
            await asyncio.sleep(pick % 211 / 10)
            if site.on:
                site.machine.heal()

    async def engine_slow(self, pick: int) -> None:
        site = self._site(pick)
        self._world.tell(f"the engine of {site.name} is slow")
        site.machine.slow(1 + pick % 20)
        await asyncio.sleep(pick % 300 / 10)
        site.machine.slow(1)

    async def start_fails(self, pick: int) -> None:
        site = self._site(pick)
        self._world.tell(f"the next start on {site.name} will fail")
        site.machine.fail_next_start("the engine has a bad day")


def _pick(pick: int, things: Sequence[T]) -> T | None:
    return things[pick % len(things)] if things else None


WISHES: dict[str, Callable[[Player, int], Awaitable[None]]] = {
    "apply": Player.apply,
    "scale": Player.scale,
    "restart": Player.restart,
    "remove": Player.remove,
    "availability": Player.availability,
    "activate": Player.activate,
}
FAULTS: dict[str, Callable[[Player, int], Awaitable[None]]] = {
    "exit": Player.exit,
    "vanish": Player.vanish,
    "kill worker": Player.kill_worker,
    "kill manager": Player.kill_manager,
    "power off": Player.power_off,
    "cut": Player.cut,
    "engine restart": Player.engine_restart,
    "engine hangs": Player.engine_hangs,
    "engine slow": Player.engine_slow,
    "start fails": Player.start_fails,
}
WEIGHTS = {
    "apply": 5,
    "scale": 4,
    "restart": 2,
    "remove": 2,
    "availability": 2,
    "activate": 2,
    "exit": 4,
    "vanish": 2,
    "kill worker": 3,
    "kill manager": 3,
    "power off": 3,
    "cut": 3,
    "engine restart": 2,
    "engine hangs": 1,
    "engine slow": 1,
    "start fails": 2,
}
