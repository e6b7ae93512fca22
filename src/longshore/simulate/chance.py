"""What happens in a world and when: the user's wishes and the faults, drawn from the seed before anything begins.

A script is a value: it can be printed, shortened and replayed. Its lines name things loosely ("some running container")
by a number, which is resolved against the world at that moment, so that a line means something in any world.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from longshore.control.operations import Operations
from longshore.decide.admission import admit
from longshore.decide.nodes import HELD_LOOK_S
from longshore.decide.placement.volumes import user_of
from longshore.engine.fake_containers import Box
from longshore.model.errors import Conflict, Invalid, NotFound, Unavailable
from longshore.model.moves import RebalanceWish
from longshore.model.objects import Availability
from longshore.model.spec import Mode, ServiceSpec
from longshore.model.views import NodePatch, ServiceWish
from longshore.simulate import harm, places
from longshore.simulate.site import Site
from longshore.simulate.story import Voice
from longshore.simulate.unruly import SLOW, StoreTroubles
from longshore.simulate.wishing import HOST_PORTS, NAMES, wished
from longshore.simulate.witness import Witness

T = TypeVar("T")
RETRY_S = 0.5
GAP_S = 6.0
"""Mean time from one line to the next."""
AILS = 0.07
"""For each line, chance that a container does not answer soon after."""
FORGETS = 0.04
"""For each line, chance that the user gives up a volume soon after, if there is one that nobody has."""
FREEZES = 0.05
"""For each line, chance that a worker stands still soon after; as great, that an engine ends."""
MOMENT_S = 0.05
STORM_LINES = 20
DEAD = 0.4
"""Chance that a calm finds machines dead: some, or all but one."""
SLOW_CALM = 0.3
EVENED = 0.15
"""For each line, chance that the user asks for a rebalance soon after."""


class Line(msgspec.Struct, frozen=True):
    """One line of a script: at this second, this happens, to the `pick`-th thing it could happen to."""

    at: float
    verb: str
    pick: int


class Storm(msgspec.Struct, frozen=True):
    """A part of a script, and the calm after it."""

    lines: tuple[Line, ...]
    dead: int
    """How many machines the calm finds without power."""
    slow: bool
    """Whether the store is slow in the calm."""


def script(seed: int, nodes: int, steps: int) -> tuple[Storm, ...]:
    """What happens in so many lines, in order of time; the first gives the world something to do."""
    rng = random.Random(f"script {seed}")
    verbs = [verb for verb, weight in WEIGHTS.items() for _ in range(weight)]
    at, lines = 1.0, [Line(0.5, "apply", rng.getrandbits(30))]
    for _ in range(steps):
        lines.append(Line(round(at, 3), rng.choice(verbs), rng.getrandbits(30)))
        at += rng.expovariate(1 / GAP_S)
    # From chance of their own, so that the rest of a seed's story is as it was before there were any.
    ails = random.Random(f"ails {seed}")
    lines += [
        Line(round(line.at + ails.random(), 3), "ail", ails.getrandbits(30))
        for line in lines[1:]
        if ails.random() < AILS
    ]
    forgets = random.Random(f"forgets {seed}")
    lines += [
        Line(round(line.at + forgets.random(), 3), "forget", forgets.getrandbits(30))
        for line in lines[1:]
        if forgets.random() < FORGETS
    ]
    freezes = random.Random(f"freezes {seed}")
    lines += [
        Line(round(line.at + freezes.random(), 3), verb, freezes.getrandbits(30))
        for line in lines[1:]
        for verb in ("freeze worker", "engine ends")
        if freezes.random() < FREEZES
    ]
    lines.sort(key=lambda line: line.at)
    harms = random.Random(f"harm {seed}")
    evened = random.Random(f"rebalances {seed}")
    marks = places.drawn_for(seed, nodes)
    return tuple(
        Storm(
            lines=_marked(_with_rebalances(_harmed(lines[first : first + STORM_LINES], harms), evened), marks),
            dead=rng.randrange(nodes) if rng.random() < DEAD else 0,
            slow=rng.random() < SLOW_CALM,
        )
        for first in range(0, len(lines), STORM_LINES)
    )


def _harmed(lines: list[Line], rng: random.Random) -> tuple[Line, ...]:
    """With harm between them, which moves no other line."""
    drawn = [(line.at + rng.random(), harm.draw(rng)) for line in lines]
    more = [Line(round(at, 3), *found) for at, found in drawn if found is not None]
    return tuple(sorted((*lines, *more), key=lambda line: line.at))


def _with_rebalances(lines: Sequence[Line], evened: random.Random) -> tuple[Line, ...]:
    more = [
        Line(round(line.at + 3 * evened.random(), 3), "rebalance", evened.getrandbits(30))
        for line in lines
        if evened.random() < EVENED
    ]
    return tuple(sorted([*lines, *more], key=lambda line: line.at))


def _marked(lines: Sequence[Line], marks: places.Marks) -> tuple[Line, ...]:
    """With wishes about places between them."""
    more = [Line(round(at, 3), verb, pick) for at, verb, pick in marks([line.at for line in lines])]
    return tuple(sorted([*lines, *more], key=lambda line: line.at))


class Player:
    """Plays a script: does what its lines say, and remembers what the user was told is done."""

    def __init__(self, witness: Witness) -> None:
        self._world = witness.world
        self._note = witness.note
        self._came_from = witness.came_from
        self.wishes: dict[str, ServiceSpec] = {}
        self._user = asyncio.Lock()
        """There is one user, who waits for each answer before the next wish: so what was wished last is known."""

    async def play(self, line: Line) -> None:
        if line.verb in WISHES:
            async with self._user:
                await WISHES[line.verb](self, pick=line.pick)
        elif line.verb in harm.HARMS:
            await harm.do(self._world, line.verb, line.pick)
        else:
            await FAULTS[line.verb](self, line.pick)

    # -- the user

    async def _insist(self, ask: Callable[[Operations], Awaitable[T]]) -> T | None:
        """Ask until it is answered; None if there is no such thing (any more)."""
        while True:
            try:
                return await self._world.ask(ask)
            except NotFound:
                return None
            except (Unavailable, Conflict):
                pass  # asked again below: a wish is the same however often it is made
            await asyncio.sleep(RETRY_S)

    def _acknowledged(self, name: str, spec: ServiceSpec | None) -> None:
        """What was acknowledged is kept from that moment on. There is one user, so nobody else changed it since."""
        if spec is not None:
            self.wishes[name] = spec
        else:
            self.wishes.pop(name, None)
        service = self._world.read().services.get(name)
        kept = service.spec if service is not None else None
        if spec is not None:
            self.wishes[name] = spec = kept if kept is not None and kept in self._came_from(name, spec) else spec
        if kept != spec:
            self._note(f"what the user wished of {name} was acknowledged, and is not kept")

    def wished(self) -> dict[str, ServiceSpec]:
        """What was acknowledged, or what it was rolled back to since."""
        services = self._world.read().services
        for name, spec in self.wishes.items():
            kept = services[name].spec if name in services else None
            self.wishes[name] = kept if kept is not None and kept in self._came_from(name, spec) else spec
        return self.wishes

    def _says(self, text: str) -> None:
        self._world.tell(Voice.USER, f"the user {text}")

    async def apply(self, pick: int, *, ruled: bool = False) -> None:
        name = NAMES[pick % len(NAMES)]
        spec = places.ruled(wished(pick, name), pick) if ruled else wished(pick, name)
        self._says(f"applies {name}: {spec.mode}, {spec.replicas} replicas, {spec.image}")
        await self._insist(lambda operations: operations.apply_service(name, ServiceWish(spec=spec)))
        self._acknowledged(name, admit(spec))

    async def scale(self, pick: int) -> None:
        name = _pick(pick, [name for name, spec in self.wishes.items() if spec.mode is not Mode.GLOBAL])
        if name is not None:
            replicas = pick // 7 % 8
            self._says(f"scales {name} to {replicas}")
            try:
                await self._insist(lambda operations: operations.scale(name, replicas))
            except Invalid:
                return  # it was rolled back to a release that is global, which nobody had told the user yet
            service = self._world.read().services.get(name)
            scaled = [replace(one, replicas=replicas) for one in self._came_from(name, self.wishes[name])]
            kept = service.spec if service is not None else None
            self._acknowledged(name, kept if kept is not None and kept in scaled else scaled[0])

    async def restart(self, pick: int) -> None:
        name = _pick(pick, list(self.wishes))
        if name is not None:
            self._says(f"restarts {name}")
            await self._insist(lambda operations: operations.restart(name))
            self._acknowledged(name, self.wished()[name])

    async def remove(self, pick: int) -> None:
        name = _pick(pick, list(self.wishes))
        if name is not None:
            self._says(f"removes {name}")
            await self._insist(lambda operations: operations.remove_service(name))
            self._acknowledged(name, None)

    async def forget(self, pick: int) -> None:
        """What the cluster would not do by itself: a slot may begin anew, with an empty volume."""
        world = self._world.read()
        id = _pick(pick, [id for id, volume in sorted(world.volumes.items()) if user_of(world, volume) is None])
        if id is not None:
            self._says(f"forgets the volume {id}")
            try:
                await self._world.ask(lambda operations: operations.forget_volume(id))
            except (Conflict, NotFound, Unavailable):
                return  # it came into use meanwhile, or nobody listens: then the user leaves it at that

    async def availability(self, pick: int) -> None:
        wanted = Availability.PAUSED if pick // 11 % 3 == 0 else Availability.DRAINED
        await self._set(self._site(pick).name, wanted)

    async def activate(self, pick: int) -> None:
        await self._set(self._site(pick).name, Availability.ACTIVE)

    async def mark(self, verb: str, pick: int) -> None:
        """Say something of a node that has joined."""
        node = self._world.read().nodes.get(self._site(pick).name)
        if node is not None:
            patch = places.said(verb, pick, node)
            self._says(f"says of {node.name}: {places.words(patch)}")
            with suppress(Invalid):  # asked once more for want of an answer, there was no such taint any more
                await self._insist(lambda operations: operations.patch_node(node.name, patch))
            if not places.holds(patch, self._world.read().nodes[node.name]):
                self._note(f"what was said of {node.name} was acknowledged, and is not kept")

    async def rebalance(self, pick: int) -> None:
        wish = RebalanceWish(disruptive=pick % 2 == 0)
        self._says("asks for a rebalance" + (" that may stop tasks first" if wish.disruptive else ""))
        await self._insist(lambda operations: operations.rebalance(wish))

    async def _set(self, name: str, wanted: Availability) -> None:
        self._says(f"makes {name} {wanted}")
        done = await self._insist(lambda operations: operations.patch_node(name, NodePatch(availability=wanted)))
        if done is not None and self._world.read().nodes[name].availability is not wanted:
            self._note(f"{name} was acknowledged to be {wanted}, and is not")

    async def give_up_held(self) -> None:
        """Say of nodes that are silent for good, and kept, that they are gone, until the cluster goes on by itself."""
        given_up: dict[str, Availability] = {}
        while held := sorted(node.name for node in self._world.read().nodes.values() if node.held):
            name = held[0]
            if name not in given_up:
                given_up[name] = self._world.read().nodes[name].availability
                await self._set(name, Availability.DRAINED)
            await self._world.pass_time(HELD_LOOK_S)
        for name, before in given_up.items():
            await self._set(name, before)

    # -- faults

    def _site(self, pick: int) -> Site:
        return self._world.sites[sorted(self._world.sites)[pick % len(self._world.sites)]]

    def _container(self, pick: int) -> tuple[Site, Box] | None:
        sites = [site for _, site in sorted(self._world.sites.items())]
        return _pick(pick, [(site, box) for site in sites for box in site.boxes(running=True)])

    async def exit(self, pick: int) -> None:
        found = self._container(pick)
        if found is not None:
            site, box = found
            site.exit(box, pick // 3 % 3, oom=pick % 5 == 0)

    async def vanish(self, pick: int) -> None:
        found = self._container(pick)
        if found is not None:
            site, box = found
            site.vanish(box)

    async def ail(self, pick: int) -> None:
        found = self._container(pick)
        if found is not None:
            site, box = found
            site.ail(box, ("", "503")[pick % 2])
            await asyncio.sleep(pick % 149 / 10)
            site.recover(box)

    async def kill_worker(self, pick: int) -> None:
        site = self._site(pick)
        site.kill_worker()
        await asyncio.sleep(pick % 97 / 10)
        site.start_worker()

    async def freeze_worker(self, pick: int) -> None:
        """For some seconds; and it may move for a moment meanwhile, read what came, and find that its cable is out."""
        site = self._site(pick)
        site.freeze_worker()
        await asyncio.sleep(pick % 97 / 20)
        if pick // 2 % 2:
            site.mute()
            site.thaw_worker()
            await asyncio.sleep(MOMENT_S)
            site.freeze_worker()
        await asyncio.sleep(pick % 127 / 10)
        site.thaw_worker()

    async def engine_ends(self, pick: int) -> None:
        site = self._site(pick)
        site.end_engine()
        await asyncio.sleep(pick % 211 / 10)
        site.heal_engine()

    async def kill_manager(self, pick: int) -> None:
        self._world.kill_manager()
        await asyncio.sleep(pick % 97 / 10)
        self._world.start_manager()

    async def power_off(self, pick: int) -> None:
        site = self._site(pick)
        site.power_off()
        await asyncio.sleep(pick % 397 / 10)
        site.power_on()

    async def blackout(self, pick: int) -> None:
        """All machines but one at the same moment; they return one after the other. The store feels it too."""
        spared = self._site(pick)
        self._world.set_troubles(SLOW)
        for site in self._world.sites.values():
            if site is not spared:
                site.power_off()
        for site in self._world.sites.values():
            await asyncio.sleep(pick % 89 / 5)
            site.power_on()
        self._world.set_troubles(StoreTroubles())

    async def slow_store(self, pick: int) -> None:
        self._world.tell(Voice.FAULT, "the store is slow")
        self._world.set_troubles(SLOW)
        await asyncio.sleep(pick % 307 / 10)
        self._world.set_troubles(StoreTroubles())

    async def cut(self, pick: int) -> None:
        site = self._site(pick)
        (site.mute if pick // 2 % 2 else site.cut)()

    async def engine_restart(self, pick: int) -> None:
        self._site(pick).restart_engine(pick % 60 / 10)

    async def engine_hangs(self, pick: int) -> None:
        site = self._site(pick)
        site.hang_engine()
        await asyncio.sleep(pick % 211 / 10)
        site.heal_engine()

    async def engine_slow(self, pick: int) -> None:
        site = self._site(pick)
        site.slow_engine(1 + pick % 20)
        await asyncio.sleep(pick % 300 / 10)
        site.slow_engine(1)

    async def start_fails(self, pick: int) -> None:
        self._site(pick).fail_next_start()

    async def port_taken(self, pick: int) -> None:
        site, port = self._site(pick), HOST_PORTS[pick % len(HOST_PORTS)]
        site.occupy(port)
        await asyncio.sleep(pick % 503 / 10)
        site.release(port)


def _pick(pick: int, things: Sequence[T]) -> T | None:
    return things[pick % len(things)] if things else None


WISHES: dict[str, Callable[..., Awaitable[None]]] = {
    "apply": Player.apply,
    "scale": Player.scale,
    "restart": Player.restart,
    "remove": Player.remove,
    "availability": Player.availability,
    "activate": Player.activate,
    "forget": Player.forget,
    "rebalance": Player.rebalance,
    "place": partial(Player.apply, ruled=True),
    **{verb: partial(Player.mark, verb=verb) for verb in places.MARKS},
}
FAULTS: dict[str, Callable[[Player, int], Awaitable[None]]] = {
    "exit": Player.exit,
    "vanish": Player.vanish,
    "ail": Player.ail,
    "kill worker": Player.kill_worker,
    "freeze worker": Player.freeze_worker,
    "engine ends": Player.engine_ends,
    "kill manager": Player.kill_manager,
    "power off": Player.power_off,
    "blackout": Player.blackout,
    "slow store": Player.slow_store,
    "cut": Player.cut,
    "engine restart": Player.engine_restart,
    "engine hangs": Player.engine_hangs,
    "engine slow": Player.engine_slow,
    "start fails": Player.start_fails,
    "port taken": Player.port_taken,
}
WEIGHTS = {
    "apply": 8,
    "scale": 4,
    "restart": 2,
    "remove": 2,
    "availability": 3,
    "activate": 3,
    "exit": 4,
    "vanish": 2,
    "kill worker": 2,
    "kill manager": 3,
    "power off": 3,
    "blackout": 2,
    "slow store": 2,
    "cut": 3,
    "engine restart": 2,
    "engine hangs": 3,
    "engine slow": 1,
    "start fails": 2,
    "port taken": 2,
}
