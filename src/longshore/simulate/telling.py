"""`longshore simulate`: worlds told as stories, or counted."""

from collections.abc import Callable

import msgspec
import structlog

from longshore.simulate.run import Outcome, run_world

FAILED = 1


def tell(*, seed: int, nodes: int, worlds: int, steps: int, as_json: bool, echo: Callable[[str], None]) -> int:
    """Run worlds from `seed` on and print what came of them; returns the exit code."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # the story is the log
    outcomes = []
    for one in range(seed, seed + worlds):
        outcome = run_world(one, nodes=nodes, steps=steps)
        outcomes.append(outcome)
        if as_json:
            continue
        if worlds == 1 or outcome.broken:
            _story(outcome, echo)
        _line(outcome, echo)
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(outcomes)).decode())
    return FAILED if any(outcome.broken for outcome in outcomes) else 0


def _story(outcome: Outcome, echo: Callable[[str], None]) -> None:
    for at, line in outcome.story:
        echo(f"{at:9.3f} s  {line}")


def _line(outcome: Outcome, echo: Callable[[str], None]) -> None:
    end = "all as wished" if not outcome.broken else f"{len(outcome.broken)} broken: {outcome.broken[0]}"
    echo(
        f"seed {outcome.seed}: {outcome.nodes} nodes, {outcome.policy}, {outcome.seconds:.0f} s, "
        f"{outcome.commits} commits: {end}"
    )
