"""A manager's patience under a clock that a test moves, for the tables about what it waits for."""

from longshore.control.liveness import LOOK_EVERY_S, Liveness

START = 500.0


class Hands:
    """A clock that a test moves, and a manager that is awake meanwhile."""

    def __init__(self, timeout_s: float) -> None:
        self.at = START
        self.liveness = Liveness(self, timeout_s=timeout_s)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def pass_time(self, seconds: float) -> None:
        end = self.at + seconds
        while self.at < end:
            self.at = min(self.at + LOOK_EVERY_S, end)
            self.liveness.silence_left_s("")

    def stand_still(self, seconds: float) -> None:
        self.at += seconds
        self.liveness.silence_left_s("")

    def left_s(self) -> float:
        return self.liveness.silence_left_s("n1")
