"""A fleet of light workers as its own process, told what to do and asked what it saw."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil

from bench.figure import Trouble
from bench.fleet import Joined, Order, Seen

_DECODER: msgspec.json.Decoder[Joined | Seen] = msgspec.json.Decoder(Joined | Seen)
STOP_S = 10.0


class Crew:
    """Use in a `with` block, after which the process is gone."""

    def __init__(self, host: str, port: int, token: Path, count: int, beat_s: float, log: Path) -> None:
        words = [sys.executable, "-m", "bench.fleet", host, str(port), str(token), str(count), str(beat_s)]
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out)
        self._rest = b""

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def rss(self) -> int:
        """Bytes that it holds."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def joined(self, limit_s: float) -> Joined:
        """Once every worker is welcome."""
        answer = self._answer(limit_s, "the fleet to join")
        assert isinstance(answer, Joined)
        return answer

    def order(self, order: Order) -> None:
        """Have it done; `seen` has the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()

    def seen(self, limit_s: float, what: str) -> Seen:
        """What it saw until the last order was carried out."""
        answer = self._answer(limit_s, what)
        assert isinstance(answer, Seen)
        return answer

    def _answer(self, limit_s: float, what: str) -> Joined | Seen:
        assert self._process.stdout is not None
        give_up = time.monotonic() + limit_s
        pipe = self._process.stdout.fileno()
        while b"\n" not in self._rest:
            ready, _, _ = select.select([pipe], [], [], max(give_up - time.monotonic(), 0))
            if not ready:
                raise Trouble(f"waited {limit_s:.0f} s for {what}, in vain")
            more = os.read(pipe, 1 << 20)
            if not more:
                raise Trouble(f"the fleet ended while it was waited for {what}:\n{self._log.read_text()[-2000:]}")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return _DECODER.decode(line)
