"""Makes room for waiting tasks of higher priority: claims a node for each, and displaces whom it has to.

What a pass of placement asks where no node takes a task. The claim is in the task's record and goes before what it
costs others, so a pass that lands in part displaces nobody for nothing; once it stands, nothing more is displaced for
the task while those who leave will do. Whoever is displaced is taken out of rotation or stopped as by any rollout, and
its slot waits for a place like any other. Knows who may displace; where, and whom, is `preemption`'s.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.constraints import gives_up
from longshore.decide.placement.displacement.claims import Claims, held_for_slots
from longshore.decide.placement.displacement.preemption import Found, Search
from longshore.decide.placement.displacement.priorities import lowest, priorities, priority_of
from longshore.decide.placement.displacement.yielding import Yielding
from longshore.decide.placement.filters import rows_within
from longshore.decide.placement.ranking import Taken
from longshore.decide.placement.table import NodeTable
from longshore.decide.placement.volumes import Ties
from longshore.model.changes import Change, changed, raise_wanted
from longshore.model.lifecycle import Owner, Wanted
from longshore.model.objects import Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, Preemption, drain_s_of

LOOK_S = 2.0
"""How often it is looked again whether a service can spare what it could not, or a node is not avoided any more."""
NOBODY = "what could give way would not make room"
NAMES_MAX = 5
"""Tasks that a sentence names."""


class Making:
    """Of one pass."""

    def __init__(self, world: Snapshot, now: float, table: NodeTable, taken: Taken, yielding: Yielding) -> None:
        self._world = world
        self._now = now
        self._table = table
        self._taken = taken
        self._claims = Claims(world, table, taken, yielding)
        self._floor = lowest(world)
        self._searches: dict[tuple[str, int, bool], Search] = {}
        self._held = held_for_slots(world) if priorities(world) else []
        """What is still to be held, the room of the highest priority last."""
        self._held.reverse()
        self.looks: list[float] = []

    def hold_above(self, priority: int) -> None:
        """From now on tasks of no higher priority have their turn."""
        while self._held and self._held[-1].priority > priority:
            hold = self._held.pop()
            if hold.node in self._table.row_of:
                self._claims.hold(self._table.row_of[hold.node], hold.ask)

    def may_help(self, service: str) -> bool:
        """Whether there may be tasks that give way to those of a service: not to one that never asks for it."""
        found = self._world.services.get(service)
        return found is not None and found.spec.priority > self._floor and found.spec.preemption is not Preemption.NEVER

    def may_displace(self, task: Task) -> bool:
        """Whether they give way to this task of such a service: not to one that only stands by or moves, unless its
        node is to be left."""
        service = self._world.services[task.service]
        if task.relieves:
            former = self._world.task(task.relieves)
            node = self._world.nodes.get(former.node) if former is not None else None
            return node is not None and gives_up(node, service.spec)
        return not task.pinned or service.spec.mode is Mode.GLOBAL

    def room_for(self, task: Task, ask: Ask, ties: Ties, avoids: Mapping[str, float]) -> list[Change] | None:
        """The changes that make room for a task that found none, which may be none if it is being made; None if nobody
        gives way to it."""
        rows = self._rows(ties, avoids)
        search = self._search(task, ask, below_minimum=False)
        claimed = self._table.row_of.get(task.claims)
        if claimed is not None and (rows is None or claimed in rows) and search.fits(claimed):
            self._claims.hold(claimed, ask)
            return []
        found = search.best(rows)
        if found is None and self._world.services[task.service].spec.preemption is Preemption.BELOW_MINIMUM:
            found = self._search(task, ask, below_minimum=True).best(rows)
        if found is None:
            self._look_again(search, rows, avoids)
            return None
        return self._made(task, ask, found)

    def _look_again(self, search: Search, rows: Sequence[int] | None, avoids: Mapping[str, float]) -> None:
        """When what stands in the way of a search may have passed without a change that anybody is told of."""
        if search.starved or avoids:
            self.looks.append(self._now + LOOK_S)
        tried_at = search.free_again(rows)
        if tried_at is not None:
            self.looks.append(tried_at)

    def _search(self, task: Task, ask: Ask, *, below_minimum: bool) -> Search:
        key = (task.service, task.release, below_minimum)
        if key not in self._searches:
            self._searches[key] = Search(
                self._world, self._table, self._taken, self._claims, ask, below_minimum=below_minimum
            )
        return self._searches[key]

    def _rows(self, ties: Ties, avoids: Mapping[str, float]) -> list[int] | None:
        """The rows that a task is tied to, but for those it avoids; None if it may go anywhere."""
        if not ties and not avoids:
            return None
        rows = rows_within(self._table, ties) if ties else [*range(len(self._table))]
        return [row for row in rows if self._table.names[row] not in avoids]

    def _made(self, task: Task, ask: Ask, found: Found) -> list[Change]:
        node = self._table.names[found.row]
        for one, serves in found.displaced:
            self._claims.displace(found.row, one, serves)
        self._claims.hold(found.row, ask)
        displaced = [one for one, _ in found.displaced]
        message = f"on {node}, {self._about(displaced)}" if displaced else f"on {node}, which others are about to leave"
        claim = replace(task, claims=node, reason=Reason.MAKES_ROOM, message=message)
        made = changed(task, claim, Owner.PLACEMENT, Reason.MAKES_ROOM, message)
        return [made, *(self._displaced(one, task) for one in displaced)]

    def _about(self, displaced: Sequence[Task]) -> str:
        names = ", ".join(task.id for task in displaced[:NAMES_MAX])
        names += f" and {len(displaced) - NAMES_MAX} more" if len(displaced) > NAMES_MAX else ""
        ranks = sorted({priority_of(self._world, task.service) for task in displaced})
        return f"where {names} of priority {' and '.join(map(str, ranks))} {'go' if len(displaced) > 1 else 'goes'}"

    def _displaced(self, task: Task, by: Task) -> Change:
        """The change by which a task gives way."""
        service = self._world.services.get(task.service)  # none, if it was removed a moment ago
        mine, others = priority_of(self._world, task.service), priority_of(self._world, by.service)
        message = f"by {by.id}, whose priority is {others}, not {mine}"
        if task.ready and service is not None and drain_s_of(service.spec):
            leaves = replace(task, wanted=Wanted.LEAVING, leaving_at=self._now)
            return changed(task, leaves, Owner.PLACEMENT, Reason.DISPLACED, message)
        change = raise_wanted(task, Wanted.STOPPED, Reason.DISPLACED, Owner.PLACEMENT, message)
        assert change is not None, "whoever is on its way out gives way to nobody more"
        return change
