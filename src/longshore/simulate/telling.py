"""`longshore simulate`: one world told as a story, or many counted."""

from collections.abc import Callable, Iterable

import msgspec
import structlog

from longshore.simulate.run import Outcome, run_world
from longshore.simulate.story import Told, Voice

FAILED = 1
REPLAYS_MAX = 10
"""Broken worlds whose replays a summary names."""
MARK = {Voice.USER: ">", Voice.FAULT: "!", Voice.CLUSTER: " ", Voice.BROKEN: "✗"}
"""What stands before a line, so that an eye finds who did what."""


def tell(*, seed: int, nodes: int, worlds: int, steps: int, as_json: bool, echo: Callable[[str], None]) -> int:
    """Run worlds from `seed` on and print what came of them; returns the exit code."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # the story is the log
    outcomes = []
    for one in range(seed, seed + worlds):
        outcome = run_world(one, nodes=nodes, steps=steps)
        outcomes.append(outcome)
        if not as_json and worlds == 1:
            echo(f"a cluster of {nodes}, placing by {outcome.policy};  > the user  ! a fault  ✗ what should not be\n")
            echo("\n".join(story(outcome.story)))
        if not as_json:
            echo(line(outcome))
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(outcomes)).decode())
    elif worlds > 1:
        echo("\n".join(summary(outcomes)))
    return FAILED if any(outcome.broken for outcome in outcomes) else 0


def story(told: Iterable[Told]) -> list[str]:
    """Its lines, each with its second."""
    return [f"{one.at:9.3f} s {MARK[one.voice]} {one.text}" for one in told]


def line(outcome: Outcome) -> str:
    """A world in one line."""
    end = "all as wished" if not outcome.broken else f"{len(outcome.broken)} broken: {outcome.broken[0]}"
    return f"seed {outcome.seed}: {outcome.policy}, {outcome.seconds:.0f} s, {outcome.commits} commits: {end}"


def summary(outcomes: list[Outcome]) -> list[str]:
    """All worlds in a few lines, with how to hear the stories of those that broke."""
    hours = sum(outcome.seconds for outcome in outcomes) / 3600
    commits = sum(outcome.commits for outcome in outcomes)
    bad = [outcome for outcome in outcomes if outcome.broken]
    head = f"{len(outcomes)} worlds, {hours:.1f} hours, {commits} commits: "
    replays = [f"  {outcome.replay}" for outcome in bad[:REPLAYS_MAX]]
    return [head + (f"{len(bad)} broken; hear their stories with" if bad else "all as wished"), *replays]
