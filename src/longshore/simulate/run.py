"""One world from its seed to its rest, and what came of it."""

import asyncio
import random
from collections.abc import Callable

import msgspec

from longshore.model.snapshot import Snapshot
from longshore.simulate.chance import Line, Player, script
from longshore.simulate.checks import always, at_rest
from longshore.simulate.clockwork import Stuck, run_in_virtual_time
from longshore.simulate.world import World

REST_S = 400.0
"""After the last fault: longer than every back-off, retry and timeout there is."""
NOTICE_S = 30.0
"""After this even a cut that nobody was told of has been noticed."""
LOOK_EVERY_S = 2.0
DEAD_FOR_GOOD = 0.3
"""Chance that a world ends with one machine that never returns."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a world."""

    seed: int
    nodes: int
    policy: str
    broken: tuple[str, ...]
    """Sentences that should have held. Empty is good."""
    seconds: float
    """Of virtual time."""
    commits: int
    story: tuple[tuple[float, str], ...]


def run_world(seed: int, *, nodes: int = 3, steps: int = 60, lines: tuple[Line, ...] | None = None) -> Outcome:
    """Run one world. `lines` replaces the script that the seed would draw."""
    rng = random.Random(f"script {seed}")
    play = script(rng, steps) if lines is None else lines
    return run_in_virtual_time(_run(seed, nodes, play, rng.random() < DEAD_FOR_GOOD))


async def _run(seed: int, nodes: int, lines: tuple[Line, ...], dead_for_good: bool) -> Outcome:
    story: list[tuple[float, str]] = []
    found: list[str] = []

    def landed(snapshot: Snapshot) -> None:
        for sentence in always(world, snapshot):
            note(sentence)

    def note(sentence: str) -> None:
        if sentence not in found:
            found.append(sentence)
            world.tell(f"BROKEN: {sentence}")

    world = World(seed, nodes, landed=landed, told=lambda at, line: story.append((round(at, 3), line)))
    player = Player(world)
    try:
        await world.begin()
        await _play(player, lines)
        await _settle(world, player, dead_for_good, note)
    except Stuck as stuck:
        note(f"stuck: {stuck}")
    for bug in world.bugs:
        note(f"a bug: {bug!r}")
    outcome = Outcome(
        seed=seed,
        nodes=nodes,
        policy=world.policy,
        broken=tuple(found),
        seconds=world.clock.monotonic(),
        commits=world.durable.read().revision,
        story=tuple(story),
    )
    await world.end()
    return outcome


async def _play(player: Player, lines: tuple[Line, ...]) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        for line in lines:
            await asyncio.sleep(max(0.0, begun + line.at - loop.time()))
            group.create_task(player.play(line), name=line.verb)


async def _settle(world: World, player: Player, dead_for_good: bool, note: Callable[[str], None]) -> None:
    """End all faults, then wait until all is as wished; whatever is not by then is broken."""
    world.calm()
    world.start_manager()
    sites = sorted(world.sites.values(), key=lambda site: site.name)
    for site in sites:
        site.machine.slow(1)
        site.machine.heal()
        world.power_on(site)
    if dead_for_good and len(sites) > 1:
        world.power_off(sites[-1])
    world.tell("no more faults")
    await asyncio.sleep(NOTICE_S)
    deadline = world.clock.monotonic() + REST_S
    wrong = at_rest(world, player.wishes)
    while wrong and not world.bugs and world.clock.monotonic() < deadline:
        await asyncio.sleep(LOOK_EVERY_S)
        wrong = at_rest(world, player.wishes)
    if not wrong:
        wrong = await _stays(world, player)
    for sentence in wrong:
        note(sentence)
    world.tell("at rest" if not wrong else "no rest")


async def _stays(world: World, player: Player) -> list[str]:
    """Rest is rest: a while later the same tasks run, and nothing was written."""
    before = world.durable.read().revision
    await asyncio.sleep(REST_S / 4)
    wrong = at_rest(world, player.wishes)
    restless = [event for kind, id, _ in world.durable.read().objects() for event in world.durable.story(kind, id)]
    wrong += [
        f"{event.by} changed {event.kind} {event.id} although all was as wished: {event.reason}"
        for event in restless
        if event.revision > before
    ]
    return wrong
