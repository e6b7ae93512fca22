"""The machine's clocks, as the port wants them."""

import time


class MachineClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        # It counts while the machine sleeps: what was heard before is old then. Also what the guard goes by.
        return time.clock_gettime(time.CLOCK_BOOTTIME)
