"""One world from its seed to its rest, and what came of it.

A world is some storms with a calm after each: while a storm lasts only what must always hold is looked at; in the calm
everything must come to be as wished, on the machines that are left.
"""

import asyncio

import msgspec

from longshore.simulate.chance import Line, Player, Storm, script
from longshore.simulate.checks import STAY_S, at_rest
from longshore.simulate.clockwork import Stuck, run_in_virtual_time
from longshore.simulate.story import Told, Voice
from longshore.simulate.unruly import CALM, SLOW_CALM, StoreTroubles
from longshore.simulate.wishing import HOST_PORTS
from longshore.simulate.witness import Witness

REST_S = 400.0
"""After the last fault: longer than every back-off, retry and timeout there is."""
NOTICE_S = 30.0
"""After this even a cut that nobody was told of has been noticed."""
LOOK_EVERY_S = 2.0
SETTLE_S = 10.0
"""In this time the user's last act has landed, by a slow store too, and releases have proved themselves."""


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
    events_digest: str
    """Of all that was committed: with it, two runs are compared at once."""
    story: tuple[Told, ...]
    file: str = ""
    """Of its script, if that was not drawn from the seed."""

    @property
    def replay(self) -> str:
        """The command that tells the same story again."""
        if self.file:
            return f"longshore simulate --script {self.file}"
        return f"longshore simulate --seed {self.seed} --nodes {self.nodes} --steps {self.steps}"


def run_world(
    seed: int,
    *,
    nodes: int = 3,
    steps: int = 60,
    storms: tuple[Storm, ...] | None = None,
    hasty: bool = False,
    file: str = "",
) -> Outcome:
    """Run one world. `storms` replaces the script that the seed would draw, and `file` is where it is kept; a hasty run
    ends at the first sentence that does not hold."""
    run = _Run(seed, nodes, hasty=hasty)
    try:
        run_in_virtual_time(run.main(script(seed, nodes, steps) if storms is None else storms))
    except Stuck as stuck:
        run.stuck(stuck)
    return run.outcome(steps, file)


class _Run:
    """Of one world. It outlives the world's event loop, which may end in the middle of everything."""

    witness: Witness

    def __init__(self, seed: int, nodes: int, *, hasty: bool) -> None:
        self._seed = seed
        self._nodes = nodes
        self._hasty = hasty

    def stuck(self, how: Stuck) -> None:
        """The event loop itself gave up, in the middle of everything."""
        sentence = f"stuck: {how}"
        at = self.witness.story[-1].at if self.witness.story else 0.0
        self.witness.broken.append(sentence)
        self.witness.story.append(Told(at, Voice.BROKEN, sentence))

    def outcome(self, steps: int, file: str) -> Outcome:
        witness = self.witness
        return Outcome(
            seed=self._seed,
            nodes=self._nodes,
            steps=steps,
            policy=witness.world.policy,
            broken=tuple(witness.broken),
            seconds=witness.story[-1].at if witness.story else 0.0,
            commits=witness.world.read().revision,
            events_digest=witness.events_digest,
            story=tuple(witness.story),
            file=file,
        )

    async def main(self, storms: tuple[Storm, ...]) -> None:
        over = asyncio.Event()
        self.witness = Witness(self._seed, self._nodes, alarm=over.set if self._hasty else lambda: None)
        world = self.witness.world
        watching = asyncio.create_task(self.witness.watch(), name="witness of the store")
        looking = asyncio.create_task(self.witness.look(), name="witness of the machines")
        living = asyncio.create_task(self._live(storms), name="world")
        alarmed = asyncio.create_task(over.wait(), name="alarm")
        every = (watching, looking, living, alarmed)
        await asyncio.wait(every, return_when=asyncio.FIRST_COMPLETED)
        for task in every:
            if task.done() and not task.cancelled() and (bug := task.exception()) is not None:
                world.bugs.append(bug)
            task.cancel()
        await asyncio.gather(*every, return_exceptions=True)
        for bug in world.bugs:
            self.witness.note(f"a bug: {_plain(bug)}")
        await world.end()

    async def _live(self, storms: tuple[Storm, ...]) -> None:
        player = Player(self.witness)
        await self.witness.world.begin()
        for storm in storms:
            await self._rage(player, storm.lines)
            await self._calm(player, storm, last=storm is storms[-1])

    async def _rage(self, player: Player, lines: tuple[Line, ...]) -> None:
        self.witness.world.set_troubles(StoreTroubles())
        loop = asyncio.get_running_loop()
        begun = loop.time() - (lines[0].at if lines else 0.0)
        async with asyncio.TaskGroup() as group:
            for line in lines:
                await asyncio.sleep(max(0.0, begun + line.at - loop.time()))
                group.create_task(player.play(line), name=line.verb)

    async def _calm(self, player: Player, storm: Storm, *, last: bool) -> None:
        """End all faults, then wait until all is as wished; whatever is not by then is broken."""
        world = self.witness.world
        world.set_troubles(SLOW_CALM if storm.slow else CALM)
        world.start_manager()
        sites = sorted(world.sites.values(), key=lambda site: site.name)
        for site in sites:
            site.machine.slow(1)
            site.machine.heal()
            site.mend()
            site.delay(0.0)
            site.lie(None)
            site.thaw_worker()
            for port in HOST_PORTS:
                site.machine.release(port)
            site.power_on()
        for site in sites[len(sites) - storm.dead :]:
            site.power_off()
        world.tell(Voice.FAULT, "no more faults for a while")
        await world.pass_time(NOTICE_S)
        await player.give_up_held()
        deadline = world.clock.monotonic() + REST_S
        wrong = at_rest(world, player.wished())
        while wrong and not world.bugs and world.clock.monotonic() < deadline:
            await world.pass_time(LOOK_EVERY_S)
            await player.give_up_held()
            wrong = at_rest(world, player.wished())
        if last and not wrong:
            wrong = await self._stays(player)
        for sentence in wrong:
            self.witness.note(sentence)
        world.tell(Voice.CLUSTER, "no rest" if wrong else "at rest: all is as wished")

    async def _stays(self, player: Player) -> list[str]:
        """Rest is rest: before long there is a while at whose end the same tasks run, and in which nothing was written.
        What had begun may be ended first, such as moves, or a job that fails."""
        world = self.witness.world
        deadline = world.clock.monotonic() + REST_S
        while True:
            await world.pass_time(SETTLE_S)
            before = world.read().revision
            await world.pass_time(STAY_S)
            events = [event for kind, id, _ in world.read().objects() for event in world.durable.story(kind, id)]
            wrong = at_rest(world, player.wished()) + [
                f"{event.by} changed {event.kind} {event.id} although all was as wished: {event.reason}"
                for event in events
                if event.revision > before
            ]
            if not wrong or world.bugs or world.clock.monotonic() > deadline:
                return wrong


def _plain(bug: BaseException) -> str:
    """A bug in one line; of a group, each of its members."""
    if isinstance(bug, BaseExceptionGroup):
        return "; ".join(_plain(one) for one in bug.exceptions)
    trace, place = bug.__traceback__, ""
    while trace is not None:
        place = f"{trace.tb_frame.f_code.co_qualname} line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{bug!r} in {place}"
