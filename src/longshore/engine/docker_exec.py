"""Running a program in a container, over Docker's API: what it wrote, and how it ended.

Knows the three calls that this takes, and that only the last of them tells the truth: the stream of what a program
writes may end before it does, or go on after it if it left another one behind. The API has no call that ends a program,
so one that is not waited for any more goes on.
"""

import asyncio
import math
from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import quote

import msgspec

from longshore.engine.docker_http import Wire
from longshore.engine.docker_json import Created, Executed
from longshore.engine.docker_logs import HEADER_BYTES
from longshore.model.containers import Ran
from longshore.model.errors import Unavailable

OUTPUT_BYTES = 4096
"""What is kept of the end of what a program wrote."""
LOOK_AGAIN_S = 0.05
BEGIN_LIMIT_S = 10.0
"""From the engine's word that it starts a program until it is there."""

_START = msgspec.json.encode({"Detach": False, "Tty": False})


async def run(wire: Wire, id: str, command: Sequence[str], timeout_s: float) -> Ran:
    """Run it and wait so long for its end. Raises Declined if the engine does not start it, Unavailable."""
    # No user, terminal or privilege is named, so that it has the container's own.
    order = {"AttachStdout": True, "AttachStderr": True, "Cmd": command}
    made = await wire.call("POST", f"/containers/{quote(id)}/exec", body=msgspec.json.encode(order))
    path = f"/exec/{made.read(Created).id}"
    loop, output = asyncio.get_running_loop(), _Output()
    async with aclosing(wire.stream("POST", f"{path}/start", {}, _START)) as pieces:
        await anext(pieces)  # the engine has answered, and is about to start it
        begin_by = loop.time() + BEGIN_LIMIT_S
        give_up = loop.time() + timeout_s
        try:
            async with asyncio.timeout_at(give_up):
                async for piece in pieces:
                    output.feed(piece)
        except TimeoutError:
            pass  # whether it has ended is asked below
    while True:
        executed = (await wire.call("GET", f"{path}/json")).read(Executed)
        if not executed.running and executed.exit_code is not None:
            return Ran(executed.exit_code, output.text())
        now = loop.time()
        if not executed.pid:
            if now >= begin_by:
                raise Unavailable("the engine did not begin the program")
            give_up = math.inf
        elif math.isinf(give_up):
            give_up = now + timeout_s  # its time begins with its start, however long that took
        if now >= give_up:
            return Ran(None, output.text())
        await asyncio.sleep(min(LOOK_AGAIN_S, give_up - now))


class _Output:
    """The end of what has come of a program's two streams, taken together."""

    def __init__(self) -> None:
        self._frames = bytearray()
        self._written = bytearray()

    def feed(self, piece: bytes) -> None:
        self._frames += piece
        while len(self._frames) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._frames[4:HEADER_BYTES], "big")
            if len(self._frames) < end:
                return
            self._written += self._frames[HEADER_BYTES:end]
            del self._frames[:end], self._written[:-OUTPUT_BYTES]

    def text(self) -> str:
        return self._written.decode(errors="replace").strip()
