"""A worker's own questions to its running containers: liveness and readiness, each asked at its interval.

Knows when to ask and keeps the verdicts; how a question travels is the prober's, what results come to is
`decide.containers`', and what is done about it the runner's. Each probe is a coroutine of its own, so one that hangs
holds up no other. All waiting is the event loop's, so virtual time moves it too.
"""

import asyncio
import zlib
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from longshore.decide.containers import UNKNOWN, judge
from longshore.model.containers import Assigned, Checks, Container, Target, Verdict, target_of
from longshore.model.errors import Refused, Unavailable
from longshore.model.lifecycle import State
from longshore.model.spec import Probe
from longshore.ports import Prober

log = structlog.get_logger("longshore.probes")


class Probes:
    """Those of one node's tasks."""

    def __init__(self, prober: Prober, turned: Callable[[str], None]) -> None:
        """`turned` is called with a task's id whenever a verdict on it is another than before."""
        self._prober = prober
        self._turned = turned
        self._probed: dict[str, _Probed] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled. Nothing may be followed before this has begun."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            await asyncio.Event().wait()

    def checks(self, task: str) -> Checks:
        """What is known of the task's container."""
        probed = self._probed.get(task)
        return probed.checks if probed is not None else UNKNOWN

    def follow(self, assigned: Assigned, container: Container | None) -> None:
        """Ask this container from now on; None asks nobody, and keeps what was found: why a container was stopped
        must still be known when it has exited."""
        task, spec = assigned.task.id, assigned.spec
        if spec.liveness is None and spec.readiness is None:
            return
        probed = self._probed.setdefault(task, _Probed())
        if container is None:
            probed.stop()
            return
        asked = probed.container.id if probed.container is not None else ""
        probed.container = container  # its address may be another than before
        if asked == container.id:
            return
        probed.stop()
        probed.container = container
        assert self._group is not None, "probes are followed by a runner that runs"
        for kind, probe in (("liveness", spec.liveness), ("readiness", spec.readiness)):
            if probe is not None:
                begun = self._group.create_task(self._keep_asking(assigned, probed, kind, probe), name=f"{kind} {task}")
                probed.asking.append(begun)

    def forget(self, task: str) -> None:
        """The task is no longer this node's."""
        probed = self._probed.pop(task, None)
        if probed is not None:
            probed.stop()

    async def _keep_asking(self, assigned: Assigned, probed: "_Probed", kind: str, probe: Probe) -> None:
        loop = asyncio.get_running_loop()
        begun = due = loop.time()
        # A worker that comes back finds all its containers at the same moment, and one node's may all have started
        # together, so each has its own place in the interval. It is drawn from its name: every life has the same.
        place = zlib.crc32(f"{assigned.task.id} {kind}".encode()) / 2**32
        if assigned.task.state is State.RUNNING:
            due += place * probe.interval_s
            pause_s = probe.interval_s
        else:
            pause_s = (0.5 + place / 2) * probe.interval_s
        while True:
            await asyncio.sleep(due - loop.time())
            starting = loop.time() - begun < probe.start_period_s
            assert probed.container is not None
            await self._ask(target_of(assigned, probed.container, probe), probed, kind, starting)
            due = max(due + pause_s, loop.time())
            pause_s = probe.interval_s

    async def _ask(self, target: Target, probed: "_Probed", kind: str, starting: bool) -> None:
        """Once, and take the result to the verdict."""
        task, failure = target.container.task, None
        # A command's time is counted by who runs it, from its start: before that the engine is asked, not the program.
        timeout_s = target.probe.timeout_s if target.probe.exec is None else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._prober.probe(target)
        except TimeoutError:
            failure = f"{_question(target.probe)}: no answer in {target.probe.timeout_s:g} s"
        except Unavailable as unwell:
            failure = unwell.message
        except Refused as refused:
            log.warning("could not probe", task=task, probe=kind, reason=refused.message)
            return
        before: Verdict = getattr(probed.checks, kind)
        after = judge(before, target.probe, failure, starting=starting)
        probed.checks = replace(probed.checks, **{kind: after})
        if after.passes is not before.passes:
            tell = log.debug if after.passes else log.warning
            tell("verdict", task=task, probe=kind, passes=after.passes, output=after.output)
            self._turned(task)


class _Probed:
    """A task with probes."""

    def __init__(self) -> None:
        self.checks = UNKNOWN
        self.container: Container | None = None
        """The one that is asked."""
        self.asking: list[asyncio.Task[None]] = []

    def stop(self) -> None:
        for one in self.asking:
            one.cancel()
        self.asking, self.container = [], None


def _question(probe: Probe) -> str:
    if probe.http is not None:
        return f"GET {probe.http.path}"
    return f"connect to port {probe.tcp.port}" if probe.tcp is not None else "probe"
