"""Faults of the second kind: not that something dies, but that it goes on and is not as it was taken to be.

Cables of which one way is out, clocks that are set, stores that stall or fail, engines that lie, machines that come
back with the disk of an earlier day. Each is a verb of a script, like those of `simulate.chance`, drawn apart from
them; each ends by itself. Knows what can be done to a world, not what is right in it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from longshore.simulate.lies import Lie
from longshore.simulate.site import Site
from longshore.simulate.unruly import SLOW, StoreTroubles
from longshore.simulate.world import HEARTBEAT_TIMEOUT_S, World

OFTEN = 0.25
"""For each line of a script, chance of one more of these soon after."""
SET_S = (-3600.0, 3600.0, -20.0, 20.0, -86400.0)
ENDS = 6
"""Containers that end while a machine dies unnoticed."""
SPIKE_S = (0.3, 1.0, 3.0)
STALLED = StoreTroubles(land_s=(10.0, 30.0), answer_s=(0.0, 0.5), lost_before=0.05, lost_after=0.05)
FAILING = StoreTroubles(land_s=(0.0, 0.2), answer_s=(0.0, 0.2), lost_before=0.6, lost_after=0.3)


def draw(rng: random.Random) -> tuple[str, int] | None:
    """The verb and pick of such a fault, or none."""
    if rng.random() >= OFTEN:
        return None
    return rng.choices(list(HARMS), [weight for weight, _ in HARMS.values()])[0], rng.getrandbits(30)


async def do(world: World, verb: str, pick: int) -> None:
    await HARMS[verb][1](world, pick)


def _site(world: World, pick: int) -> Site:
    return world.sites[sorted(world.sites)[pick % len(world.sites)]]


async def _part(world: World, pick: int) -> None:
    site = _site(world, pick)
    up, down = ((True, False), (False, True), (True, True))[pick // 7 % 3]
    site.part(up=up, down=down)
    await asyncio.sleep(pick // 31 % 300 / 10)
    site.mend()


async def _spike(world: World, pick: int) -> None:
    site = _site(world, pick)
    site.delay(SPIKE_S[pick // 7 % len(SPIKE_S)])
    await asyncio.sleep(pick // 31 % 200 / 10)
    site.delay(0.0)


async def _lie(world: World, pick: int) -> None:
    site, lies = _site(world, pick), list(Lie)
    site.lie(lies[pick // 7 % len(lies)])
    await asyncio.sleep(pick // 61 % 400 / 10)
    site.lie(None)


async def _disk(world: World, pick: int) -> None:
    """The first time its disk is copied, the next time it comes back with the copy."""
    site = _site(world, pick)
    if site.image is None:
        site.copy_disk()
        return
    site.power_off()
    await asyncio.sleep(pick // 31 % 200 / 10)
    site.restore_disk()
    site.power_on()


async def _die_busy(world: World, pick: int) -> None:
    """A machine dies, and just when that is about to be noticed others need room: some of it may be found there. The
    store is slow, so what was decided first may land last."""
    site = _site(world, pick)
    site.power_off()
    await asyncio.sleep(HEARTBEAT_TIMEOUT_S - 1.5)
    world.set_troubles(SLOW)
    for turn in range(ENDS):
        await asyncio.sleep(pick // 7 % 11 / 10 / ENDS)
        others = [(one, box) for _, one in sorted(world.sites.items()) for box in one.boxes(running=True)]
        if others:
            one, box = others[(pick // 31 + turn) % len(others)]
            one.exit(box, 1)
    await asyncio.sleep(2.0)
    world.set_troubles(StoreTroubles())
    await asyncio.sleep(20.0 + pick // 61 % 100 / 10)
    site.power_on()


async def _set_clock(world: World, pick: int) -> None:
    world.set_wall(SET_S[pick % len(SET_S)])


async def _stall(world: World, pick: int) -> None:
    await world.trouble("the store stalls", STALLED, pick % 300 / 10)


async def _fail(world: World, pick: int) -> None:
    await world.trouble("the store fails", FAILING, pick % 200 / 10)


HARMS: dict[str, tuple[int, Callable[[World, int], Awaitable[None]]]] = {
    "part": (6, _part),
    "spike": (2, _spike),
    "lie": (6, _lie),
    "old disk": (3, _disk),
    "die busy": (3, _die_busy),
    "set clock": (2, _set_clock),
    "store stalls": (2, _stall),
    "store fails": (2, _fail),
}
"""Weight and deed of each."""
