"""Where those tasks are that rules are about: counted when a rule first asks, kept up to date while a pass goes on.

Counts by service are the table's own; here are those by label, and what either come to in domains. Knows where tasks
are; not what the rules make of it.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np

from longshore.decide.placement.ask import Ask
from longshore.decide.placement.held import Counts, Held
from longshore.decide.placement.whom import Labels, Whom


class Peers:
    """Of one table."""

    def __init__(self, held: Held, of_service: Callable[[str], Counts], without: tuple[int, Labels] | None) -> None:
        """`without` is the row and the labels of a task that is left out."""
        self._held = held
        self._of_service = of_service
        self._without = without
        self._taken: dict[Labels, Counter[int]] = {}
        """By row, what the pass has put there: nobody may have asked by these labels yet."""
        self._late: list[tuple[Labels, Counts | int]] = []
        """What of it is not yet there."""
        self._chosen: dict[Whom, Counts] = {}
        self._sums: dict[tuple[Whom, str], Counts] = {}
        self._to_come: list[tuple[int, Ask]] = []
        """The rows on which room is held, and for what."""

    def of(self, whom: Whom) -> Counts:
        """How many of them each node has. To read."""
        if whom.service:
            return self._of_service(whom.service)
        if whom not in self._chosen:
            counts = self._chosen[whom] = self._held.unlabelled * int(whom.chooses(()))
            for labels, nodes in self._held.of_labels.items():
                if whom.chooses(labels):
                    for name, count in nodes.items():
                        counts[self._held.row_of[name]] += count
            for labels, late in self._late:
                rows = [late] if isinstance(late, int) else late.tolist()
                self._taken.setdefault(labels, Counter()).update(rows)
            self._late.clear()
            for labels, taken in self._taken.items():
                if whom.chooses(labels):
                    for row, count in taken.items():
                        counts[row] += count
            if self._without is not None and whom.chooses(self._without[1]):
                counts[self._without[0]] -= 1
        return self._chosen[whom]

    def sums(self, whom: Whom, over: str) -> Counts:
        """How many of them each domain has; at the end, how many are in none. To read."""
        found = self._sums.get((whom, over))
        if found is None:
            found = self._sums[whom, over] = self._held.domains(over).sums(self.of(whom))
        return found

    def there(self, whom: Whom, over: str) -> Counts:
        """The same without those for whom room is only held: nobody is near them yet."""
        found = self.sums(whom, over)
        to_come = [row for row, ask in self._to_come if whom.covers(ask.service, ask.labels)]
        if not to_come:
            return found
        return found - self._held.domains(over).sums(np.bincount(to_come, minlength=len(self._held.names)))

    def hold(self, row: int, ask: Ask) -> None:
        """One more is to come to a node."""
        self.add(row, ask)
        self._to_come.append((row, ask))

    def add(self, row: int, ask: Ask) -> None:
        """One more task was put on a node."""
        self._late.append((ask.labels, row))
        for whom, counts in self._chosen.items():
            if whom.chooses(ask.labels):
                counts[row] += 1
        for (whom, over), sums in self._sums.items():
            if whom.covers(ask.service, ask.labels):
                sums[self._held.domains(over).of_row[row]] += 1

    def add_all(self, rows: Counts, ask: Ask) -> None:
        """Several were."""
        self._late.append((ask.labels, rows))
        if not self._chosen and not self._sums:
            return
        counts = np.bincount(rows, minlength=len(self._held.names))
        for whom in [one for one in self._chosen if one.chooses(ask.labels)]:
            self._chosen[whom] = self._chosen[whom] + counts
        for whom, over in [key for key in self._sums if key[0].covers(ask.service, ask.labels)]:
            self._sums[whom, over] = self._sums[whom, over] + self._held.domains(over).sums(counts)
