"""What the user of a world wishes of services: drawn from a number, so that a line of a script means one wish.

Some fit and some do not, some stay and some end; everything that a spec can ask for and that a simulated machine knows
is asked for by some. Knows specs alone.
"""

import random

from msgspec.structs import replace

from longshore.decide.placement.hostports import CHOSEN_FIRST
from longshore.model.spec import (
    Condition,
    Dependency,
    ExecProbe,
    HealthCheck,
    HttpProbe,
    Mode,
    Mount,
    MountKind,
    OnFailure,
    PlacementRules,
    Port,
    Probe,
    Resources,
    RestartPolicy,
    ServiceSpec,
    TcpProbe,
    UpdateOrder,
    UpdateRules,
)

NAMES = ("web", "db", "api", "cron", "agent", "shop")
NEVER = "never"
"""A name that nobody ever gives to a service."""
HOST_PORTS = (8080, CHOSEN_FIRST)
"""What services ask for, and what placement gives first to those that ask for any."""
LIVENESS = Probe(tcp=TcpProbe(port=80), interval_s=2.0, timeout_s=1.0, retries=2, start_period_s=1.0)
READINESS = Probe(http=HttpProbe(port=80), interval_s=1.0, timeout_s=1.0, retries=2, successes=2)
DATA = Mount(kind=MountKind.VOLUME, source="data", target="/data")
"""One name for all: services that have it share it."""
COMMANDS = (("true",), ("sh", "-c", "sleep 0.2; true"))
COMMAND = 0.3
"""Chance that a probe is a command."""
DEPENDS = 0.15
"""Chance that a service waits for another."""
MOUNTS = 0.12
"""Chance that a service has a named volume."""
WRITERS = 0.3
"""Chance that a service is a single writer, if it can be one."""
PRIORITIES = (0, 0, 10, 20, -10, -10)
"""What services have, each as often as it is there."""


def _spec(pick: int) -> ServiceSpec:
    """Some service: of any mode, that fits or does not, that stays or ends."""
    rng = random.Random(pick)
    mode = rng.choice((*[Mode.REPLICATED] * 6, Mode.GLOBAL, Mode.GLOBAL, Mode.JOB))
    command: tuple[str, ...] | None = None
    restart = RestartPolicy()
    if mode is Mode.JOB:
        command = rng.choice((("sleep", "5"), ("true",), ("exit", "3")))
        restart = RestartPolicy(attempts_max=2)
    elif rng.random() < 0.15:
        command, restart = ("exit", "1"), RestartPolicy(attempts_max=3)
    volumes = random.Random(f"volumes {pick}")
    spec = ServiceSpec(
        mounts=(DATA,) if volumes.random() < MOUNTS else (),
        image=rng.choice(("longshore/demo:1", "longshore/demo:2", "registry/app:7")),
        mode=mode,
        replicas=rng.randint(1, 6),
        command=command,
        restart=restart,
        stop_grace_s=2.0,
        resources=Resources(cpu=rng.choice((0.0, 0.25, 1.0)), memory=rng.choice((0, 64 << 20, 2 << 30))),
        ports=rng.choice(((), (Port(container=80),), (Port(container=80, host=HOST_PORTS[0]),))),
        health=rng.choice((None, HealthCheck(test=("CMD", "true"), interval_s=1.0))),
        placement=PlacementRules(
            constraints=rng.choice(((), (), ("node.labels.zone==a",))),
            rebalance=pick % 5 == 0,
        ),
        liveness=rng.choice((None, LIVENESS)),
        readiness=rng.choice((None, READINESS)),
        update=UpdateRules(
            order=rng.choice((None, None, UpdateOrder.START_FIRST, UpdateOrder.STOP_FIRST)),
            parallelism=rng.choice((1, 1, 2, 0)),
            delay_s=rng.choice((0.0, 0.0, 2.0)),
            failures_max=rng.choice((0, 0, 1)),
            on_failure=rng.choice((OnFailure.ROLLBACK, OnFailure.ROLLBACK, OnFailure.PAUSE, OnFailure.CONTINUE)),
            drain_s=rng.choice((None, 0.0, 1.5)),
        ),
    )
    # From chance of its own, as above; whatever was drawn, none stands by beside a single writer.
    single = mode is not Mode.GLOBAL and random.Random(f"writers {pick}").random() < WRITERS
    return replace(spec, single_writer=True, update=replace(spec.update, order=None)) if single else spec


def wished(pick: int, name: str) -> ServiceSpec:
    """The same, with what came later: each from chance of its own, so that the rest of a seed's story is as it was."""
    spec, ways, rng = _spec(pick), random.Random(f"ways {pick}"), random.Random(f"depends {pick}")
    liveness, readiness = (
        replace(probe, http=None, tcp=None, exec=ExecProbe(command=ways.choice(COMMANDS)))
        if probe is not None and ways.random() < COMMAND
        else probe
        for probe in (spec.liveness, spec.readiness)
    )
    depends: tuple[Dependency, ...] = ()
    if rng.random() < DEPENDS:
        # Only on names before its own, so that no circle is ever asked for.
        others = (*NAMES[: NAMES.index(name)] * 3, NEVER)
        conditions = (Condition.STARTED, Condition.READY, Condition.READY, Condition.COMPLETED)
        depends = (Dependency(service=rng.choice(others), condition=rng.choice(conditions)),)
    priority = random.Random(f"priority {pick}").choice(PRIORITIES)
    # What goes before others is large, so that it does not always find room.
    resources = replace(spec.resources, cpu=2.0) if priority > 0 else spec.resources
    more = {"depends": depends, "priority": priority, "resources": resources}
    return replace(spec, liveness=liveness, readiness=readiness, **more)
