"""Clocks for tests: time that moves only when a test says so."""


class StepClock:
    """Moves by `step_s` each time it is read, so that no two moments are the same and every run sees the same ones."""

    def __init__(self, start: float = 1_700_000_000.0, step_s: float = 1.0) -> None:
        self._now = start
        self._step_s = step_s

    def now(self) -> float:
        self._now += self._step_s
        return self._now

    def monotonic(self) -> float:
        return self.now()

    def advance(self, seconds: float) -> None:
        self._now += seconds
