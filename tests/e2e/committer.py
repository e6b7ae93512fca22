"""A process that commits and says what was acknowledged, to be killed. Not a test.

Started once; for every line on stdin (`<path> <seed>`) it forks a child that opens the store and commits until it is
killed, so that two hundred deaths cost no two hundred imports. On stdout: `pid <n>` when a child begins,
`open <revision>` when its store is, `ack <writer> <count> <revision>` for each commit that returned, `gone` when it
is dead.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

from msgspec.structs import replace

from longshore.model.changes import Change
from longshore.model.lifecycle import Owner
from longshore.model.objects import Kind, Node
from longshore.model.reasons import Reason
from longshore.store.sqlite import SqliteStore

WRITERS = 4
LOG_EVENTS = 400
"""So few that old ones are deleted all the time: a death then must not lose anything either."""


class Clock:
    """Nothing here depends on the time."""

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # one write, and short: whole or not at all, also when killed


async def write(store: SqliteStore, writer: int, chance: random.Random) -> None:
    """Count up in both of the writer's records, in one commit each time, by sizes that fill pages differently."""
    names = [f"left{writer}", f"right{writer}"]
    while True:
        there = store.read().nodes
        count = int(there[names[0]].address) + 1 if names[0] in there else 1
        padding = {"padding": "x" * chance.randrange(6000)}
        changes = []
        for name in names:
            old = there.get(name, Node(name=name))
            after = replace(old, address=str(count), labels=padding)
            changes.append(_put(name, old.revision, after))
        # And one that comes and goes, so that rows are deleted too.
        extra = f"extra{writer}"
        old_extra = there.get(extra)
        revision = 0 if old_extra is None else old_extra.revision
        changes.append(_put(extra, revision, None if old_extra else Node(name=extra)))
        say(f"ack {writer} {count} {await store.commit(changes)}")


def _put(name: str, before: int, after: Node | None) -> Change:
    return Change(kind=Kind.NODE, id=name, before=before, after=after, by=Owner.USER, reason=Reason.UPDATED)


async def commit_until_killed(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = await SqliteStore.open(path, Clock(), log_events=LOG_EVENTS)
    say(f"open {store.read().revision}")
    await asyncio.gather(*(write(store, writer, chance) for writer in range(WRITERS)))


def main() -> None:
    for line in sys.stdin:
        path, seed = line.split()
        child = os.fork()
        if child == 0:
            say(f"pid {os.getpid()}")
            asyncio.run(commit_until_killed(Path(path), int(seed)))
            os._exit(1)
        os.waitpid(child, 0)
        say("gone")


if __name__ == "__main__":
    main()
