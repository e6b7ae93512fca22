"""`longshore simulate`: one world told as a story, or many counted; a script played, or made short."""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from longshore.model.errors import Invalid, NotFound
from longshore.simulate.fleet import FleetOutcome, run_fleet
from longshore.simulate.many import Size, be_quiet, mixed, play_all
from longshore.simulate.run import Outcome
from longshore.simulate.shrink import Script, drawn, play, shrink
from longshore.simulate.story import Told, Voice

FAILED = 1
REPLAYS_MAX = 10
"""Broken worlds whose replays a summary names."""
LINES_MAX = 100
"""Of more worlds than this only those that broke have a line of their own."""
MARK = {Voice.USER: ">", Voice.FAULT: "!", Voice.CLUSTER: " ", Voice.BROKEN: "✗"}
"""What stands before a line, so that an eye finds who did what."""

Echo = Callable[[str], None]


def tell(
    *,
    seed: int,
    nodes: int,
    worlds: int,
    steps: int,
    as_json: bool,
    echo: Echo,
    sizes_vary: bool = False,
    jobs: int = 1,
) -> int:
    """Run worlds from `seed` on and print what came of them; returns the exit code."""
    be_quiet()
    sizes = [mixed(one) if sizes_vary else Size(one, nodes, steps) for one in range(seed, seed + worlds)]
    outcomes = []
    for outcome in play_all(sizes, jobs, stories=as_json or worlds == 1):
        outcomes.append(outcome)
        if as_json:
            continue
        if worlds == 1:
            _tell_story(outcome, echo)
        if worlds <= LINES_MAX or outcome.broken:
            echo(line(outcome))
        if len(outcomes) % LINES_MAX == 0 and worlds > LINES_MAX:
            echo(f"{len(outcomes)} of {worlds} worlds, {sum(bool(one.broken) for one in outcomes)} broken")
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(outcomes)).decode())
    elif worlds > 1:
        echo("\n".join(summary(outcomes)))
    return FAILED if any(outcome.broken for outcome in outcomes) else 0


def tell_script(file: Path, echo: Echo) -> int:
    """Play the script of a file as a story; returns the exit code."""
    be_quiet()
    try:
        one = msgspec.json.decode(file.read_bytes(), type=Script)
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except (msgspec.DecodeError, OSError) as failure:
        raise Invalid(f"{file} is no script: {failure}") from failure
    outcome = play(one, file=str(file))
    _tell_story(outcome, echo)
    echo(line(outcome))
    return FAILED if outcome.broken else 0


def tell_short(*, seed: int, nodes: int, steps: int, file: Path, echo: Echo) -> int:
    """Shrink the world of a seed and keep the short script in `file`; returns the exit code, as of that world."""
    be_quiet()
    short = shrink(drawn(seed, nodes, steps), echo)
    if short is None:
        echo(f"seed {seed} breaks nothing, so there is nothing to shrink")
        return 0
    file.write_bytes(msgspec.json.format(msgspec.json.encode(short)) + b"\n")
    outcome = play(short, file=str(file), hasty=True)
    _tell_story(outcome, echo)
    echo(f"{line(outcome)}; hear it again with\n  {outcome.replay}")
    return FAILED


def tell_fleet(*, seed: int, nodes: int, tasks: int, policy: str, as_json: bool, echo: Echo, aside: Echo) -> int:
    """Play the calm day of a large cluster and print what it took; returns the exit code. `aside` hears how far it
    is."""
    be_quiet()
    outcome = run_fleet(nodes, tasks, seed=seed, policy=policy, tell=aside)
    if as_json:
        echo(msgspec.json.format(msgspec.json.encode(outcome)).decode())
    else:
        echo("\n".join(day(outcome)))
    return FAILED if outcome.wrong else 0


def day(outcome: FleetOutcome) -> list[str]:
    """A fleet's day in a few lines."""
    lines = [f"{outcome.nodes} nodes, {outcome.tasks} tasks, placing by {outcome.policy}"]
    for phase in outcome.phases:
        took = f"{phase.virtual_s:.1f} s of the cluster's time in {phase.wall_s:.1f} s here ({phase.cpu_s:.1f} s cpu)"
        lines.append(f"  {phase.name:<5} {took}, {phase.commits} commits")
    lines.append(f"  at most {outcome.peak_memory >> 20} MiB of memory")
    return [*lines, *(f"  {MARK[Voice.BROKEN]} {sentence}" for sentence in outcome.wrong[:REPLAYS_MAX])]


def _tell_story(outcome: Outcome, echo: Echo) -> None:
    echo(f"a cluster of {outcome.nodes}, placing by {outcome.policy};  > the user  ! a fault  ✗ what should not be\n")
    echo("\n".join(story(outcome.story)))


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
