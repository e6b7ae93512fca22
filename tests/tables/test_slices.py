"""Whose place is in which round of the loop, and when patience ends."""

import asyncio

import pytest

from longshore.loop.patience import Patience
from longshore.loop.slices import Slices
from longshore.simulate.clockwork import run_in_virtual_time


def test_so_many_go_on_in_a_round_in_their_order() -> None:
    async def main() -> None:
        slices, rounds = Slices(3), [0]
        done: list[tuple[int, int]] = []

        async def work(number: int) -> None:
            await slices.place()
            done.append((number, rounds[0]))

        async def count() -> None:
            while len(done) < 10:
                await asyncio.sleep(0)
                rounds[0] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(work(number))
            group.create_task(count())
        assert [number for number, _ in done] == list(range(10))
        in_round = [[number for number, at in done if at == one] for one in range(rounds[0])]
        assert max(map(len, in_round)) == 3
        assert len([one for one in in_round if one]) == 4

    run_in_virtual_time(main())


def test_who_comes_alone_does_not_wait() -> None:
    async def main() -> None:
        slices = Slices(2)
        for _ in range(5):
            waiting = asyncio.ensure_future(slices.place())
            await asyncio.sleep(0)
            assert waiting.done()
            await asyncio.sleep(0)

    run_in_virtual_time(main())


def test_who_is_cancelled_while_it_waits_takes_nobodys_place() -> None:
    async def main() -> None:
        slices, done = Slices(1), []

        async def work(number: int) -> None:
            await slices.place()
            done.append(number)

        tasks = [asyncio.create_task(work(number)) for number in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert done == [0, 3]

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("heard_at", "ends_at"),
    [
        pytest.param([], 10.0, id="nothing heard"),
        pytest.param([1.0], 11.0, id="heard once"),
        pytest.param([4.0, 9.5, 19.0], 29.0, id="heard again and again"),
        pytest.param([4.0, 14.5], 14.0, id="heard too late"),
    ],
)
def test_patience_ends_so_long_after_the_last_word(heard_at: list[float], ends_at: float) -> None:
    async def main() -> None:
        now = asyncio.get_running_loop().time
        began = now()

        async def wait() -> None:
            async with Patience(10.0) as patience:
                for at in heard_at:
                    await asyncio.sleep(began + at - now())
                    patience.heard()
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await wait()
        assert now() - began == pytest.approx(ends_at)

    run_in_virtual_time(main())


def test_a_block_that_ends_is_left_in_peace() -> None:
    async def main() -> None:
        async with Patience(1.0):
            await asyncio.sleep(0.5)
        await asyncio.sleep(5.0)

    run_in_virtual_time(main())
