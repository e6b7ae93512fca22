"""One world from its seed to its rest, and what came of it.

A world is some storms with a calm after each: while a storm lasts only what must always hold is looked at; in the calm
everything must come to be as wished, on the machines that are left.
"""

import asyncio
import random

import msgspec

from longshore.simulate.chance import HOST_PORTS, Line, Player, script
from longshore.simulate.checks import at_rest
from longshore.simulate.clockwork import Stuck, run_in_virtual_time
from longshore.simulate.story import Told, Voice
from longshore.simulate.unruly import CALM, StoreTroubles
from longshore.simulate.witness import Witness

REST_S = 400.0
"""After the last fault: longer than every back-off, retry and timeout there is."""
NOTICE_S = 30.0
"""After this even a cut that nobody was told of has been noticed."""
LOOK_EVERY_S = 2.0
STORM_LINES = 20
"""Of the script, between two calms."""
DEAD = 0.4
"""Chance that a calm finds machines dead, some of them or all but one."""


Storms = list[tuple[tuple[Line, ...], int]]
"""The lines of each, and how many machines are dead after it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a world."""

    seed: int
    nodes: int
    steps: int
    policy: str
    broken: tuple[str, ...]
    """Sentences that should have held. Empty is good."""
    seconds: float
    """Of virtual time."""
    commits: int
    story: tuple[Told, ...]

    @property
    def replay(self) -> str:
        """The command that tells the same story again."""
        return f"longshore simulate --seed {self.seed} --nodes {self.nodes} --steps {self.steps}"


def run_world(
    seed: int, *, nodes: int = 3, steps: int = 60, lines: tuple[Line, ...] | None = None, hasty: bool = False
) -> Outcome:
    """Run one world. `lines` replaces the script that the seed would draw; a hasty run ends at the first sentence that
    does not hold."""
    rng = random.Random(f"script {seed}")
    play = script(rng, steps) if lines is None else lines
    storms = [play[first : first + STORM_LINES] for first in range(0, len(play), STORM_LINES)]
    dead = [rng.randrange(nodes) if rng.random() < DEAD else 0 for _ in storms]
    run = _Run(seed, nodes, hasty=hasty)
    try:
        run_in_virtual_time(run.main(list(zip(storms, dead, strict=True))))
    except Stuck as stuck:
        run.witness.broken.append(f"stuck: {stuck}")
    return run.outcome(steps)


class _Run:
    """Of one world. It outlives the world's event loop, which may end in the middle of everything."""

    witness: Witness

    def __init__(self, seed: int, nodes: int, *, hasty: bool) -> None:
        self._seed = seed
        self._nodes = nodes
        self._hasty = hasty

    def outcome(self, steps: int) -> Outcome:
        witness = self.witness
        return Outcome(
            seed=self._seed,
            nodes=self._nodes,
            steps=steps,
            policy=witness.world.policy,
            broken=tuple(witness.broken),
            seconds=witness.story[-1].at if witness.story else 0.0,
            commits=witness.world.read().revision,
            story=tuple(witness.story),
        )

    async def main(self, storms: Storms) -> None:
        over = asyncio.Event()
        self.witness = Witness(self._seed, self._nodes, alarm=over.set if self._hasty else lambda: None)
        world = self.witness.world
        watching = asyncio.create_task(self.witness.watch(), name="witness")
        living = asyncio.create_task(self._live(storms), name="world")
        alarmed = asyncio.create_task(over.wait(), name="alarm")
        await asyncio.wait([watching, living, alarmed], return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, living, alarmed):
            if task.done() and not task.cancelled() and (bug := task.exception()) is not None:
                world.bugs.append(bug)
            task.cancel()
        await asyncio.gather(watching, living, alarmed, return_exceptions=True)
        for bug in world.bugs:
            self.witness.note(f"a bug: {_plain(bug)}")
        await world.end()

    async def _live(self, storms: Storms) -> None:
        player = Player(self.witness)
        await self.witness.world.begin()
        for number, (lines, dead) in enumerate(storms, start=1):
            await self._storm(player, lines)
            await self._calm(player, dead, last=number == len(storms))

    async def _storm(self, player: Player, lines: tuple[Line, ...]) -> None:
        self.witness.world.set_troubles(StoreTroubles())
        loop = asyncio.get_running_loop()
        begun = loop.time() - lines[0].at
        async with asyncio.TaskGroup() as group:
            for line in lines:
                await asyncio.sleep(max(0.0, begun + line.at - loop.time()))
                group.create_task(player.play(line), name=line.verb)

    async def _calm(self, player: Player, dead: int, *, last: bool) -> None:
        """End all faults, then wait until all is as wished; whatever is not by then is broken."""
        world = self.witness.world
        world.set_troubles(CALM)
        world.start_manager()
        sites = sorted(world.sites.values(), key=lambda site: site.name)
        for site in sites:
            site.machine.slow(1)
            site.machine.heal()
            for port in HOST_PORTS:
                site.machine.release(port)
            site.power_on()
        for site in sites[len(sites) - dead :]:
            site.power_off()
        world.tell(Voice.FAULT, "no more faults for a while")
        await world.pass_time(NOTICE_S)
        deadline = world.clock.monotonic() + REST_S
        wrong = at_rest(world, player.wishes)
        while wrong and not world.bugs and world.clock.monotonic() < deadline:
            await world.pass_time(LOOK_EVERY_S)
            wrong = at_rest(world, player.wishes)
        if last and not wrong:
            wrong = await self._stays(player)
        for sentence in wrong:
            self.witness.note(sentence)
        world.tell(Voice.CLUSTER, "no rest" if wrong else "at rest: all is as wished")

    async def _stays(self, player: Player) -> list[str]:
        """Rest is rest: a while later the same tasks run, and nothing was written."""
        world = self.witness.world
        before = world.read().revision
        await world.pass_time(REST_S / 4)
        events = [event for kind, id, _ in world.read().objects() for event in world.durable.story(kind, id)]
        return at_rest(world, player.wishes) + [
            f"{event.by} changed {event.kind} {event.id} although all was as wished: {event.reason}"
            for event in events
            if event.revision > before
        ]


def _plain(bug: BaseException) -> str:
    """A bug in one line; of a group, each of its members."""
    if isinstance(bug, BaseExceptionGroup):
        return "; ".join(_plain(one) for one in bug.exceptions)
    trace, place = bug.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_qualname} line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{bug!r} in {place}"
