"""Many worlds, one after the other or side by side in processes; what comes of them is in the order of their seeds.

A world is a plain function of its size, so it does not matter which process plays it.
"""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import msgspec
import structlog

from longshore.simulate.run import Outcome, run_world

AT_A_TIME = 4
"""Worlds that a process is given at once."""
MIXED_STEPS = (60, 60, 20, 120)
MIXED_NODES_MAX = 6


class Size(msgspec.Struct, frozen=True):
    """What a world is made from."""

    seed: int
    nodes: int
    steps: int


def mixed(seed: int) -> Size:
    """A world whose size is its seed's too."""
    return Size(seed, 1 + seed % MIXED_NODES_MAX, MIXED_STEPS[seed % len(MIXED_STEPS)])


def play_all(sizes: Sequence[Size], jobs: int, *, stories: bool) -> Iterator[Outcome]:
    """Each world's outcome. Without `stories`, only those that broke tell theirs."""
    if jobs == 1:
        for size in sizes:
            yield _play(size, stories)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_begin) as pool:
        yield from pool.map(_play, sizes, [stories] * len(sizes), chunksize=AT_A_TIME)


def _begin() -> None:
    """A process of its own: quiet, and gone when the one that asked for it is, however that ended."""
    be_quiet()
    threading.Thread(target=_end_with_parent, name="end with the parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only a process that was started has one"
    parent.join()
    os._exit(1)  # nobody is left to tell anything


def be_quiet() -> None:
    """The story is the log."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))


def _play(size: Size, stories: bool) -> Outcome:
    outcome = run_world(size.seed, nodes=size.nodes, steps=size.steps)
    return outcome if stories or outcome.broken else msgspec.structs.replace(outcome, story=())
