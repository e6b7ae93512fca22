"""What runs on the machines of a world, and what of it must not run beside what.

Compares the engines' containers alone, whatever the store says of them; only where a slot has its volume is known from
the store's tasks. It is asked at every commit, so what runs is listed once for all questions, and thought about anew
only when it is not what it was.
"""

from collections import Counter, defaultdict
from itertools import pairwise

from longshore.engine.fake_containers import Box
from longshore.model.containers import fingerprint
from longshore.model.objects import volume_id
from longshore.model.snapshot import Snapshot
from longshore.model.spec import volumes_of
from longshore.simulate.site import Site
from longshore.simulate.world import World

Run = tuple[Site, Box, int]
"""A container that runs, and how often it was started."""


class Beside:
    """Of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._runs: list[Run] = []
        """What ran when it was last looked at; all below follows from it."""
        self._twice: list[str] = []
        self._with_volumes: list[tuple[Site, Box, tuple[str, ...]]] = []
        self._overlaps: list[tuple[str, Box, Site, Box]] = []
        """Slots in which something runs that was started beside a single writer."""
        self._volumes: dict[str, str] = {}
        """By id of a volume: the machine on which its slot first ran with it."""

    def forget(self, volume: str) -> None:
        """The store knows nothing of it any more."""
        self._volumes.pop(volume, None)

    def wrong(self, snapshot: Snapshot) -> list[str]:
        """What is wrong now."""
        self._look()
        return [*self._twice, *self._twins(snapshot), *self._two_writers()]

    def two_writers(self) -> list[str]:
        """Where a single writer is in a slot, it had ended before the next one began."""
        self._look()
        return self._two_writers()

    def _look(self) -> None:
        every = self._world.sites.values()
        runs = [(site, box, box.runs) for site in every for box in site.machine.boxes.values() if box.running]
        if runs == self._runs:
            return
        self._runs = runs
        marks = Counter(box.order.fingerprint for _, box, _ in runs)
        self._twice = [f"the container {mark} runs {n} times" for mark, n in marks.items() if n > 1]
        mounting = ((site, box, tuple(volumes_of(box.order.spec))) for site, box, _ in runs)
        self._with_volumes = [one for one in mounting if one[2]]
        slots: dict[str, list[tuple[Site, Box]]] = defaultdict(list)
        for site, box, _ in runs:
            slots[box.order.task.rpartition(".")[0]].append((site, box))
        self._overlaps = []
        for slot, here in slots.items():
            here.sort(key=lambda one: one[1].started_at)
            pairs = [(before, site, box) for (_, before), (site, box) in pairwise(here)]
            # What a release that was no single writer's left behind was promised to nobody.
            self._overlaps += [
                (slot, before, site, box)
                for before, site, box in pairs
                if before.order.spec.single_writer and box.order.spec.single_writer
            ]

    def _two_writers(self) -> list[str]:
        return [
            f"slot {slot} has two writers: {before.order.task} and {box.order.task}"
            for slot, before, site, box in self._overlaps
            if not site.guard.is_late(box)
        ]

    def _twins(self, snapshot: Snapshot) -> list[str]:
        """Slots that run without the volume that they once ran with."""
        found = []
        for site, box, names in self._with_volumes:
            task = snapshot.task(box.order.task)
            if task is None or not task.live or task.node != site.name or task.pinned:
                continue
            if fingerprint(task) != box.order.fingerprint:
                continue  # left behind by one of the same id that is gone
            for name in names:
                home = self._volumes.setdefault(volume_id(name, task.service, task.slot), site.name)
                if home != site.name:
                    found.append(f"{task.id} runs on {site.name}, and its volume {name} is on {home}")
        return found
