"""Who is displaced for a task that finds no room, and where: the search over all nodes.

Of the nodes that every other filter accepts, the one on which the fewest tasks of lower priority have to go; among
equals the cheapest (`fewest`), then those whose oldest is youngest, then the first node by name. Tasks that leave
anyway are counted as gone, so where that is enough nobody is displaced. What a service cannot spare is left to it, and
whom a task has to be near is never displaced for it. Exact, and kept while one class of a pass looks for room again and
again: a node is looked at anew only when it comes first. Knows claims and what may yield; changes nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

import msgspec

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.displacement.claims import Claims, Needs, Numbers, needs_of
from longshore.decide.placement.displacement.fewest import Group, Limit, Price, Ways, fewest
from longshore.decide.placement.displacement.priorities import priority_of
from longshore.decide.placement.displacement.yielding import Aged, Here, Sort, Youth
from longshore.decide.placement.filters import sieve
from longshore.decide.placement.ranking import Taken
from longshore.decide.placement.rules import has_rules
from longshore.decide.placement.table import Mask, NodeTable
from longshore.decide.placement.whom import labels_of, whom_of
from longshore.model.objects import Task
from longshore.model.snapshot import Snapshot

Youths = tuple[Youth, ...]
_Alike = tuple[int, Numbers, int, int, str]
"""The priority, negated; what each gives of what is lacking; its cpu and memory; whose spare limits it, if that limits
several groups."""
_Entry = tuple[Price, Youths, int, int, int]
"""What a node comes to, its row, how much had been taken of it then, and how much had been spent."""


class Found(msgspec.Struct, frozen=True):
    """Where room can be made."""

    row: int
    displaced: tuple[tuple[Task, bool], ...]
    """Who has to go for it, and whether it serves."""


class _Answer(msgspec.Struct, frozen=True):
    """What nodes come to that are alike."""

    ways: Ways | None
    members: tuple[tuple[tuple[Sort, int], ...], ...]
    """By group: the kinds in it, and how many of each may go."""


class Search:
    """For the tasks of one class in one pass."""

    def __init__(
        self, world: Snapshot, table: NodeTable, taken: Taken, claims: Claims, ask: Ask, *, below_minimum: bool
    ) -> None:
        self._world = world
        self._table = table
        self._taken = taken
        self._claims = claims
        self._ask = ask
        self._needs: Needs = needs_of(ask)
        self._below_minimum = below_minimum
        self._priority = priority_of(world, ask.service)
        self._near = tuple(whom_of(one) for one in ask.rules.affinity if one.weight is None)
        self._ruled = has_rules(table, ask)
        self._open, self._open_at = self._others_accept(), taken.count
        self._answers: dict[tuple[object, Numbers, int], _Answer] = {}
        self._heap: list[_Entry] | None = None
        self._opened = 0
        """How many of the claims' opened rows the heap has in it."""
        self.starved = False
        """Whether somebody was left where it is because its service cannot spare it."""

    def fits(self, row: int) -> bool:
        """Whether a node has room once all who leave it have left."""
        return self._is_open(row) and all(lack <= 0 for lack in self._claims.lacks(row, self._needs))

    def best(self, rows: Sequence[int] | None = None) -> Found | None:
        """The best node, of some `rows` alone if a task is tied to them."""
        if rows is not None or self._ruled:
            entries = self._weighed([row for row in rows if self._is_open(row)] if rows is not None else self._rows())
            return self._found(min(entries, default=None))
        if self._heap is None:
            self._heap, self._opened = self._weighed(self._rows()), len(self._claims.opened)
            heapify(self._heap)
        for row in self._claims.opened[self._opened :]:
            self._push(row)
        self._opened = len(self._claims.opened)
        while self._heap:
            entry = heappop(self._heap)
            if entry[3:] == (self._taken.times.item(entry[2]), self._claims.spent):
                heappush(self._heap, entry)
                return self._found(entry)
            self._push(entry[2])
        return None

    def _push(self, row: int) -> None:
        entry = self._weigh(row, self._claims.lacks(row, self._needs)) if self._is_open(row) else None
        if entry is not None and self._heap is not None:
            heappush(self._heap, entry)

    def free_again(self, rows: Sequence[int] | None = None) -> float | None:
        """When the first host port that another program held, and that nobody could give up, is to be tried again."""
        if not self._needs.ports or not self._table.ports.any_refused:
            return None
        some = [row for row in rows if self._is_open(row)] if rows is not None else self._rows()
        return self._table.ports.free_again({self._table.machine.item(row) for row in some}, self._ask)

    # -- nodes

    def _others_accept(self) -> Mask:
        """Which nodes pass all filters but those of room."""
        needs = self._needs
        words = ["not enough cpu", "not enough memory", "not enough disk", "not enough pids"]
        words += [f"not enough {name}" for name, _ in needs.named]
        words += [f"host port {port}/{protocol} in use" for port, protocol in needs.ports]
        mask: Mask = sieve(self._table, self._ask, words).room > 0
        return mask

    def _caught_up(self) -> Mask:
        if self._ruled and self._open_at != self._taken.count:
            self._open, self._open_at = self._others_accept(), self._taken.count
        return self._open

    def _is_open(self, row: int) -> bool:
        return bool(self._caught_up()[row])

    def _rows(self) -> list[int]:
        rows: list[int] = self._caught_up().nonzero()[0].tolist()
        return rows

    def _weighed(self, rows: Sequence[int]) -> list[_Entry]:
        columns = self._claims.columns(self._needs) if len(rows) > 1 else None
        entries = (self._weigh(row, self._claims.lacks(row, self._needs, columns)) for row in rows)
        return [entry for entry in entries if entry is not None]

    def _weigh(self, row: int, lacks: Numbers) -> _Entry | None:
        here = self._here(row)
        answer = self._answer(here, lacks)
        if answer.ways is None:
            return None
        youths = min([_oldest_first(self._picked(here, answer, way)) for way in answer.ways.ways])
        return answer.ways.price, youths, row, self._taken.times.item(row), self._claims.spent

    def _found(self, entry: _Entry | None) -> Found | None:
        if entry is None:
            return None
        row = entry[2]
        here = self._here(row)
        answer = self._answer(here, self._claims.lacks(row, self._needs))
        assert answer.ways is not None
        every = [self._picked(here, answer, way) for way in answer.ways.ways]
        picked = min(every, key=_oldest_first)
        return Found(row, tuple((task, serves) for (_, task), serves in picked))

    # -- the tasks of one node

    def _here(self, row: int) -> Here:
        """Without those that this pass has displaced."""
        here = self._claims.yielding.on(self._table.names[row])
        if self._needs.ports or self._claims.touches(row):
            return here.without(self._claims.displaced, self._needs.ports)
        return here

    def _answer(self, here: Here, lacks: Numbers) -> _Answer:
        key = (here.counts, lacks, self._claims.spent)
        if key not in self._answers:
            self._answers[key] = self._worked_out(here, lacks)
        return self._answers[key]

    def _worked_out(self, here: Here, lacks: Numbers) -> _Answer:
        wanting = [place for place, lack in enumerate(lacks) if lack > 0]
        members: dict[_Alike, list[tuple[Sort, int]]] = {}
        parted = self._parted(here)
        for sort, those in sorted(here.kinds.items()) if wanting else ():
            release, priority = self._world.release(sort.service, sort.release), priority_of(self._world, sort.service)
            if priority >= self._priority or release is None or not those:
                continue
            if any(whom.covers(sort.service, labels_of(release.spec.labels)) for whom in self._near):
                continue
            count = self._count(sort, len(those))
            if count:
                need = release.spec.resources
                given = self._needs.given_by(need, sort.ports)
                gives = tuple(given[place] for place in wanting)
                limited = sort.service if sort.serves and sort.service in parted else ""
                members.setdefault((-priority, gives, need.cpu_millis, need.memory, limited), []).append((sort, count))
        keys = sorted(members)
        groups = [Group(-key[0], *key[1:4], sum(count for _, count in members[key])) for key in keys]
        limits = []
        for service in parted:
            places = tuple(place for place, key in enumerate(keys) if key[4] == service)
            limits.append(Limit(places, self._spared(service, sum(groups[place].count for place in places))))
        ways = fewest(groups, tuple(lacks[place] for place in wanting), limits)
        return _Answer(ways, tuple(tuple(members[key]) for key in keys))

    def _parted(self, here: Here) -> list[str]:
        """Services whose tasks that serve are of several kinds: what they can spare, they spare of all together."""
        if not self._needs.ports or self._below_minimum:
            return []
        kinds = Counter(sort.service for sort in here.kinds if sort.serves)
        return sorted(service for service, count in kinds.items() if count > 1)

    def _count(self, sort: Sort, count: int) -> int:
        """How many of a kind may go."""
        if not sort.serves or self._below_minimum:
            return count
        return self._spared(sort.service, count)

    def _spared(self, service: str, count: int) -> int:
        """How many of so many that serve a service may go."""
        spare = self._claims.spare(service)
        self.starved = self.starved or spare < count
        return min(count, spare)

    def _picked(self, here: Here, answer: _Answer, way: Iterable[int]) -> list[tuple[Aged, bool]]:
        """The youngest, so many of each group."""
        found: list[tuple[Aged, bool]] = []
        for number, kinds in zip(way, answer.members, strict=True):
            if number and len(kinds) == 1:
                sort = kinds[0][0]
                found += [(aged, sort.serves) for aged in here.kinds[sort][:number]]
            elif number:
                some = [(aged, sort.serves) for sort, count in kinds for aged in here.kinds[sort][:count]]
                found += sorted(some)[:number]
        return found


def _oldest_first(picked: Iterable[tuple[Aged, bool]]) -> Youths:
    return tuple(sorted([aged[0] for aged, _ in picked], reverse=True))
