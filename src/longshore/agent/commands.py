"""The `Prober` port for commands: a program in the container, run through its engine. All else goes to another prober.

Knows what an exit code means to a probe and in which words it is told; must not know how often is asked. A program
costs the machine some 30 ms of a core to start and next to nothing while it runs, so only starts take turns: one that
hangs gives its turn up soon, and holds up no other.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from longshore.agent.words import one_line, printable
from longshore.model.containers import Target
from longshore.model.errors import NotFound, Refused, Unavailable
from longshore.model.spec import ExecProbe
from longshore.ports import Engine, Prober

TURN_S = 0.5
"""Longest that one keeps others from starting."""
OUTPUT_MAX = 200
"""Characters of what a program wrote last that are told."""
NAME_MAX = 60


class CommandProber:
    """Of one worker."""

    def __init__(self, engine: Engine, others: Prober, *, at_once: int = 0) -> None:
        """`at_once` programs may be starting; zero is as many as there are cores."""
        self._engine = engine
        self._others = others
        self._turns = asyncio.Semaphore(at_once or os.cpu_count() or 1)

    async def probe(self, target: Target) -> None:
        program = target.probe.exec
        if program is None:
            await self._others.probe(target)
            return
        name = _name(program)
        try:
            async with self._turn():
                ran = await self._engine.exec(target.container.id, program.command, target.probe.timeout_s)
        except NotFound as gone:
            raise Unavailable(f"{name}: the container does not run") from gone
        except Refused as refused:
            raise Unavailable(f"{name}: {refused.message}") from refused
        except Unavailable as silent:
            # The engine's trouble, of which the container knows nothing.
            raise Refused(f"{name}: {silent.message}") from silent
        said = f": {one_line(ran.output, OUTPUT_MAX)}" if ran.output else ""
        if ran.exit_code is None:
            raise Unavailable(f"{name}: no end in {target.probe.timeout_s:g} s{said}")
        if ran.exit_code:
            raise Unavailable(f"{name}: exit code {ran.exit_code}{said}")

    async def close(self) -> None:
        await self._others.close()

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None, None]:
        """Wait for a turn, and give it up at the end or after a while, whichever comes first."""
        given_up = False

        def give_up() -> None:
            nonlocal given_up
            if not given_up:
                given_up = True
                self._turns.release()

        await self._turns.acquire()
        timer = asyncio.get_running_loop().call_later(TURN_S, give_up)
        try:
            yield
        finally:
            timer.cancel()
            give_up()


def _name(program: ExecProbe) -> str:
    """As a person would write it, with the end left out."""
    text = " ".join(program.command)
    return printable(text if len(text) <= NAME_MAX else f"{text[: NAME_MAX - 1]}…")
