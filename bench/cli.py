"""Wall time of `longshore ps`, beside the least that any Python program takes: `python -c pass`.

The manager runs on the simulated engine: what a worker does is of no concern to a command that reads.
"""

import subprocess
import sys
import time

from bench.figure import Figure, Trouble, compared
from bench.follower import Follower, count
from bench.programs import FAKE, LONGSHORE, cluster_in_one
from bench.run import Run
from longshore.model.spec import ServiceSpec

FAMILY = "cli"
RUNS = 10
REPLICAS = 10
LIMIT_S = 30.0


def measure(run: Run) -> list[Figure]:
    with cluster_in_one(run.folder, FAKE, 3) as cluster:
        with cluster.client() as client:
            up = Follower(client, "web", lambda tasks: count(tasks, "running") == REPLICAS)
            with cluster.client() as asking:
                asking.put_service("web", ServiceSpec(image="longshore/demo:1", replicas=REPLICAS))
            up.moment(LIMIT_S)
        ps = [LONGSHORE, "--data", str(run.folder), "ps"]
        nothing = [sys.executable, "-c", "pass"]
        if _said(ps).count("web.") < REPLICAS:
            raise Trouble(f"longshore ps does not show {REPLICAS} tasks:\n{_said(ps)}")
        _timed(nothing)
        pairs = [(_timed(ps), _timed(nothing)) for _ in range(RUNS)]
    return [compared(FAMILY, f"longshore ps, {REPLICAS} tasks", "ms", pairs, "python -c pass")]


def _timed(words: list[str]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    _said(words)
    return 1000 * (time.perf_counter() - began)


def _said(words: list[str]) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    if done.returncode:
        raise Trouble(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout
