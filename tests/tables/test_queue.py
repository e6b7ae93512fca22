"""The queue's four promises, on a loop with virtual time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from longshore.loop.queue import BACKOFF_FIRST_S, BACKOFF_MAX_S, KeyQueue
from longshore.simulate.clockwork import run_in_virtual_time


def virtually(main: Coroutine[Any, Any, None]) -> None:
    run_in_virtual_time(main)


async def taken(queue: KeyQueue[str]) -> tuple[str, float]:
    """The next key, and the second at which it came."""
    key = await queue.get()
    return key, round(asyncio.get_running_loop().time(), 6)


def test_a_key_added_often_is_one_visit() -> None:
    async def main() -> None:
        queue: KeyQueue[str] = KeyQueue()
        for key in ("a", "b", "a", "a"):
            queue.add(key)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await queue.get()

    virtually(main())


def test_a_key_added_while_busy_comes_back_after_and_never_twice_at_once() -> None:
    async def main() -> None:
        queue: KeyQueue[str] = KeyQueue()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await queue.get()
        queue.done("a")
        assert await queue.get() == "a"

    virtually(main())


def test_a_key_that_rests_comes_back_after_that() -> None:
    async def main() -> None:
        queue: KeyQueue[str] = KeyQueue()
        start = asyncio.get_running_loop().time()
        queue.add("a")
        await queue.get()
        queue.add("a")
        queue.done("a", 5)
        queue.add("a")
        queue.add("a", 2)
        queue.add("b", 1)
        assert [await taken(queue), await taken(queue)] == [("b", start + 1), ("a", start + 5)]
        queue.done("a", 3)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                await queue.get()
        queue.add("a")
        assert await taken(queue) == ("a", start + 105)
        queue.done("a", 7)
        queue.close()

    virtually(main())


def test_the_earliest_of_several_delays_holds() -> None:
    async def main() -> None:
        queue: KeyQueue[str] = KeyQueue()
        start = asyncio.get_running_loop().time()
        queue.add("a", 50)
        queue.add("a", 10)
        queue.add("a", 70)
        assert await taken(queue) == ("a", start + 10)
        queue.done("a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1000):
                await queue.get()

    virtually(main())


def test_a_key_wanted_now_does_not_wait_for_its_delay() -> None:
    async def main() -> None:
        queue: KeyQueue[str] = KeyQueue()
        start = asyncio.get_running_loop().time()
        queue.add("a", 50)
        queue.add("a")
        assert await taken(queue) == ("a", start)

    virtually(main())


def test_a_delay_set_while_busy_is_not_lost() -> None:
    async def main() -> None:
        queue: KeyQueue[str] = KeyQueue()
        start = asyncio.get_running_loop().time()
        queue.add("a")
        await queue.get()
        queue.add("a", 5)
        queue.done("a")
        assert await taken(queue) == ("a", start + 5)

    virtually(main())


def test_retries_wait_twice_as_long_each_time_up_to_a_bound_until_forgotten() -> None:
    async def main() -> None:
        queue: KeyQueue[str] = KeyQueue()
        waits = []
        for _ in range(12):
            waits.append(queue.retry("a"))
            await queue.get()
            queue.done("a")
        assert waits[:3] == [BACKOFF_FIRST_S, 2 * BACKOFF_FIRST_S, 4 * BACKOFF_FIRST_S]
        assert waits[-1] == BACKOFF_MAX_S
        queue.forget("a")
        assert queue.retry("a") == BACKOFF_FIRST_S

    virtually(main())


def test_each_key_that_gets_in_line_is_told() -> None:
    async def main() -> None:
        lines: list[int] = []
        queue: KeyQueue[str] = KeyQueue(lambda: lines.append(len(queue)))
        queue.add("a")
        queue.add("a")
        queue.add("b")
        assert lines == [1, 2]
        await queue.get()
        queue.add("a")
        assert lines == [1, 2], "it is worked on, and comes back after"
        queue.done("a")
        assert lines == [1, 2, 2]

    asyncio.run(main())
