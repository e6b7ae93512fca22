"""The machine's clocks, as the port wants them."""

import time


class MachineClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
