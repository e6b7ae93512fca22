"""A world without chance, for situations that are staged: what is done to it is written in the test, at exact times.

The store takes its time but loses nothing. A witness looks on, so that besides what a test expects, everything that
must always hold does.
"""

import asyncio
from collections.abc import Awaitable, Callable

from longshore.engine.fake_containers import Box
from longshore.model.objects import Availability, NodeStatus, Task
from longshore.model.spec import ServiceSpec
from longshore.model.views import NodePatch, ServiceWish
from longshore.simulate.clockwork import run_in_virtual_time
from longshore.simulate.site import Site
from longshore.simulate.telling import story
from longshore.simulate.unruly import StoreTroubles
from longshore.simulate.witness import Witness
from longshore.simulate.world import HEARTBEAT_TIMEOUT_S

PROMPT = StoreTroubles(land_s=(0.005, 0.005), answer_s=(0.005, 0.005), lost_before=0.0, lost_after=0.0)
SOON_S = 3.0
"""Enough for a decision, its placement, and a container's stop and start."""

Scene = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A world, and short words for what a test does with it."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.world = witness.world

    @property
    def now(self) -> float:
        return self.world.clock.monotonic()

    async def apply(self, name: str = "web", spec: ServiceSpec | None = None, **fields: object) -> None:
        wish = ServiceWish(spec=spec or service(**fields))
        await self.world.ask(lambda operations: operations.apply_service(name, wish))

    async def scale(self, name: str, replicas: int) -> None:
        await self.world.ask(lambda operations: operations.scale(name, replicas))

    async def remove(self, name: str) -> None:
        await self.world.ask(lambda operations: operations.remove_service(name))

    async def set_node(self, name: str, wanted: Availability) -> None:
        await self.world.ask(lambda operations: operations.patch_node(name, NodePatch(availability=wanted)))

    async def joined(self) -> None:
        """Let all workers join, and their sessions begin in earnest."""
        await self.world.until(lambda: set(self.ready_nodes()) == set(self.world.sites), SOON_S)
        await self.world.pass_time(0.5)

    def ready_nodes(self) -> list[str]:
        return [name for name, node in self.world.read().nodes.items() if node.status is NodeStatus.READY]

    def tasks(self, service: str = "web") -> list[Task]:
        return self.world.tasks(service)

    def task(self, id: str) -> Task:
        found = self.world.read().task(id)
        assert found is not None, f"there is no task {id}"
        return found

    def ready(self, service: str = "web") -> list[str]:
        """Its tasks that fill their slots and are ready."""
        return [task.id for task in self.tasks(service) if task.counts and task.ready]

    async def serving(self, count: int, service: str = "web", within_s: float = SOON_S) -> float:
        """Let time pass until so many of its tasks are ready; the seconds it took."""
        return await self.world.until(lambda: len(self.ready(service)) == count, within_s)

    def running(self) -> list[tuple[str, str]]:
        """What really runs: (node, task)."""
        sites = self.world.sites.items()
        return sorted((name, box.order.task) for name, site in sites for box in site.boxes(running=True))

    def box(self, task: str) -> tuple[Site, Box]:
        """The only container of a task, and where it is."""
        found = [(site, box) for site in self.world.sites.values() for box in site.boxes(task)]
        assert len(found) == 1, f"{task} has {len(found)} containers"
        return found[0]

    def told(self, part: str) -> int:
        """How many lines of the story have this in them."""
        return sum(part in line.text for line in self.witness.story)


def service(**fields: object) -> ServiceSpec:
    return ServiceSpec(**({"image": "longshore/demo:1", "stop_grace_s": 2.0} | fields))  # type: ignore[arg-type]


def play(scene: Scene, *, nodes: int, seed: int = 0, troubles: StoreTroubles = PROMPT, join: bool = True) -> None:
    """Stage a scene on a cluster of so many nodes, which have joined (or are about to)."""

    async def main() -> None:
        stage = Stage(Witness(seed, nodes, policy="spread", troubles=troubles))
        looking = [asyncio.create_task(stage.witness.watch()), asyncio.create_task(stage.witness.look())]
        try:
            await stage.world.begin()
            if join:
                await stage.joined()
            await scene(stage)
            await stage.world.pass_time(2 * HEARTBEAT_TIMEOUT_S)
        except AssertionError as failure:
            raise AssertionError("\n".join((*story(stage.witness.story), str(failure)))) from failure
        finally:
            for task in looking:
                task.cancel()
            await stage.world.end()
        broken = [*stage.witness.broken, *map(repr, stage.world.bugs)]
        assert not broken, "\n".join((*story(stage.witness.story), *broken))

    run_in_virtual_time(main())
