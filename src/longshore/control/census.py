"""Whether most nodes are missed at once, asked for each of them.

In a large cluster the answer is counted once for all who ask within a moment: ten thousand nodes that fall silent
together would else be counted ten thousand times. What makes a node missed is far longer than that moment. Knows when
it was counted; what is counted is `decide.nodes`'s, who is missed `liveness`'s.
"""

from longshore.control.liveness import Liveness
from longshore.decide import nodes
from longshore.model.snapshot import Snapshot
from longshore.ports import Clock

LARGE_NODES = 100
"""Fewer are counted whenever somebody asks."""
MOMENT_S = 0.1


class Census:
    """Of one manager's nodes."""

    def __init__(self, liveness: Liveness, clock: Clock) -> None:
        self._liveness = liveness
        self._clock = clock
        self._counted: tuple[float, str] | None = None

    def held(self, world: Snapshot) -> str:
        """Why no node is declared down just now; empty if silent ones are."""
        now = self._clock.monotonic()
        if self._counted is not None and now - self._counted[0] < MOMENT_S and len(world.nodes) >= LARGE_NODES:
            return self._counted[1]
        words = nodes.held(world, self._liveness.quiet(world.nodes))
        self._counted = (now, words)
        return words
