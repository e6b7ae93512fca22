"""Brings one node's containers to what its assignment says: look, take one step, say what is true, look again.

`decide.containers` decides; this file only lists, does and reports. What the engine shows is kept as a picture that
its events and a list after each reconnection renew. A task is one key of the queue, so no two steps of a task ever
overlap, while different tasks go side by side; only starts are rationed, because past about two a core an engine gets
slower, not faster.
"""

import asyncio
from collections import defaultdict
from itertools import count

import structlog

from longshore.agent.fence import Fence
from longshore.agent.outbox import Outbox
from longshore.agent.probes import Probes
from longshore.decide.containers import Progress, next_step, observe, to_probe
from longshore.loop.queue import KeyQueue
from longshore.model.containers import (
    Assigned,
    Container,
    Create,
    Prepare,
    Remove,
    Start,
    Status,
    Step,
    Stop,
    fingerprint,
)
from longshore.model.errors import Failure, NotFound, PortTaken, Refused, Unavailable
from longshore.model.lifecycle import RANK, TERMINAL, State, Wanted
from longshore.model.messages import Assignment, Observation
from longshore.model.reasons import Reason
from longshore.ports import Engine, Prober

log = structlog.get_logger("longshore.runner")

TASKS_AT_ONCE = 256
"""Tasks that are worked on side by side. Pulls wait for their end here and stops for their grace, and what is not
worked on is not told of either; so it is much more than starts, and more than most nodes have tasks."""
LIST_EVERY_S = 30.0
"""A full list, in case the engine kept an event to itself."""
RECONNECT_S = 0.25


class Runner:
    """One node's containers on one engine."""

    def __init__(
        self, engine: Engine, prober: Prober, fence: Fence, *, cluster: str, node: str, starts: asyncio.Semaphore
    ) -> None:
        self.outbox = Outbox()
        self._fence = fence
        self._engine = engine
        self._cluster = cluster
        self._node = node
        self._starts = starts
        self._queue: KeyQueue[str] = KeyQueue(self._hire)
        self._group: asyncio.TaskGroup | None = None
        """None until it runs."""
        self._hands = self._idle = 0
        """Coroutines that work on tasks, made when there is work for them; those of them that have none."""
        self._probes = Probes(prober, self._queue.add)
        self._assigned: dict[str, Assigned] | None = None
        """None until the manager has said it once: until then nothing is started, stopped or removed."""
        self._progress: dict[str, Progress] = {}
        self._containers: dict[str, Container] = {}
        self._of_task: dict[str, set[str]] = defaultdict(set)
        self._questions = count(1)
        """Numbers what the engine is asked: a list may take long, and others are asked and answered meanwhile."""
        self._listed_by = 0
        self._seen_by: dict[str, int] = {}
        """By container: the question whose answer the picture shows, also where that was that it is gone."""
        self._silent: dict[str, Container] = {}
        """Those of which the engine said no more, when it listed them last, than that they are there."""
        self._writers: tuple[str, ...] = ()
        """Single writers that are assigned."""
        self._doubted: set[str] = set()
        """Tasks whose last step may have been done or not: nobody answered."""
        self._listed = asyncio.Event()
        fence.mind(self._fenced, self._look_at_fenced)

    # -- what the manager says

    def assign(self, message: Assignment) -> None:
        """Take an assignment, whole or its changes."""
        put = {one.task.id: one for one in message.put}
        before = self._assigned or {}
        if message.full:
            gone = set(before) - set(put)
            self._assigned = put
            self.outbox.forget_said()
        else:
            assert self._assigned is not None, "changes before the whole assignment"
            gone = set(message.removed)
            self._assigned = {**before, **put}
        for id, one in put.items():
            if id in before and before[id].task.created_at != one.task.created_at:
                self._forget(id)  # the id came again: nothing that is known of the earlier task holds for this one
        for id in sorted(gone):
            self._assigned.pop(id, None)
            self._forget(id)
        self._writers = tuple(id for id, one in self._assigned.items() if one.spec.single_writer)
        self._tell_fence()
        for id in sorted(put.keys() | gone | (set(self._of_task) if message.full else set())):
            self._queue.add(id)

    def _forget(self, task: str) -> None:
        self._progress.pop(task, None)
        self._probes.forget(task)
        self.outbox.forget(task)

    def held(self) -> list[tuple[Assigned, Observation | None]]:
        """What this node holds, and what was last seen of each, by task."""
        return [(one, self.outbox.said(id)) for id, one in sorted((self._assigned or {}).items())]

    @property
    def container_ids(self) -> tuple[str, ...]:
        """Containers of this node, as last seen."""
        return tuple(self._containers)

    # -- what the engine shows

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._probes.run(), name=f"node {self._node}: probe")
                group.create_task(self._watch(), name=f"node {self._node}: watch the engine")
                group.create_task(self._fence.run(), name=f"node {self._node}: fence")
                group.create_task(self._list_again(), name=f"node {self._node}: list again")
                self._group = group
                self._hire()
        finally:
            self._queue.close()

    def _hire(self) -> None:
        """As many as there are tasks in line, and no more than may be worked on."""
        while self._group is not None and len(self._queue) > self._idle and self._hands < TASKS_AT_ONCE:
            self._hands += 1
            self._idle += 1
            self._group.create_task(self._work(), name=f"node {self._node}: work {self._hands}")

    async def _watch(self) -> None:
        while True:
            try:
                async for container_id in self._engine.events(self._cluster, self._node):
                    if container_id:
                        await self._happened(container_id)
                    else:
                        await self._list()
            except Unavailable as failure:
                log.warning("engine does not answer", node=self._node, reason=failure.message)
                await asyncio.sleep(RECONNECT_S)

    async def _happened(self, container_id: str) -> None:
        """Something happened to a container. That the engine does not answer for it is no reason to begin anew with all
        of them."""
        try:
            await self._look_at(container_id)
        except Unavailable as failure:
            log.warning("could not look", node=self._node, container=container_id, reason=failure.message)
            before = self._containers.get(container_id)
            if before is None:
                await self._list()
            else:
                self._doubted.add(before.task)
                self._queue.add(before.task)

    async def _list_again(self) -> None:
        while True:
            await asyncio.sleep(LIST_EVERY_S)
            try:
                await self._list()
            except Unavailable as failure:
                log.warning("could not list containers", node=self._node, reason=failure.message)

    async def _list(self) -> None:
        asked = next(self._questions)
        found = await self._engine.containers(self._cluster, self._node)
        if asked < self._listed_by:
            return
        self._listed_by = asked
        for task in sorted({*self._of_task, *(self._assigned or ()), *(one.task for one in found)}):
            self._queue.add(task)
        self._silent = {one.id: one for one in found if one.status is Status.UNKNOWN}
        for id, one in self._silent.items():
            log.warning("the engine says nothing of a container", node=self._node, task=one.task, container=id)
        for one in found:
            if one.id not in self._silent:
                self._learn(one.id, one, asked)
        for id in [id for id, at in self._seen_by.items() if at < asked and id not in self._silent]:
            self._learn(id, None, asked)
            del self._seen_by[id]  # a look that was asked for before, and finds it, is believed all the same
        self._listed.set()
        self._tell_fence()

    async def _look_at(self, container_id: str) -> None:
        """Renew the picture of one container."""
        asked = next(self._questions)
        seen = await self._engine.container(container_id)
        if seen is not None and seen.id != container_id:
            raise Unavailable(f"the engine was asked for {container_id}, and showed {seen.id}")
        self._learn(container_id, seen, asked)

    def _learn(self, id: str, seen: Container | None, asked: int) -> None:
        """Take an answer into the picture, unless a later question was answered before. That may yet be the older
        answer; but what changed between the two has an event, and the look that follows it is later than both."""
        if asked < self._seen_by.get(id, 0):
            return
        self._seen_by[id] = asked
        self._silent.pop(id, None)
        before = self._containers.pop(id, None)
        if before is not None:
            self._of_task[before.task].discard(id)
        if seen is not None:
            self._containers[id] = seen
            self._of_task[seen.task].add(id)
        for one in (before, seen):
            if one is not None and seen != before:
                self._queue.add(one.task)

    def _containers_of(self, task: str) -> list[Container]:
        return [self._containers[id] for id in sorted(self._of_task.get(task, ()))]

    # -- one task

    async def _work(self) -> None:
        await self._listed.wait()  # what is already there must be known before anything is started
        while True:
            task = await self._queue.get()
            self._idle -= 1
            try:
                await self._tend(task)
                self._queue.forget(task)
            except Unavailable as failure:
                self._doubted.add(task)
                wait_s = self._queue.retry(task)
                log.warning("step put off", node=self._node, task=task, reason=failure.message, retry_s=wait_s)
            finally:
                self._idle += 1
                self._queue.done(task)

    async def _tend(self, task: str) -> None:
        """Say what is true of the task, then take the one next step."""
        if self._assigned is None:
            return
        if task in self._doubted:
            await self._look_again(task)
        for silent in [one.id for one in self._silent.values() if one.task == task and one.id not in self._containers]:
            await self._look_at(silent)  # it may be the task's own, so nothing is said or done before that is known
        assigned = self._assigned.get(task)
        if assigned is not None and (missed := self._missed(assigned)):
            await self._look_at(missed)
            if self._assigned.get(task) is not assigned:
                return  # something else was said meanwhile, and the task is in line again
        seen = self._containers_of(task)
        if assigned is not None:
            self._end_fenced(assigned, seen)
            self._say(assigned, seen)
            self._probes.follow(assigned, to_probe(assigned, seen, self._progress.get(task)))
        progress, checks = self._progress.get(task), self._probes.checks(task)
        step = next_step(assigned, seen, progress, checks, cluster=self._cluster, node=self._node)
        if isinstance(step, Create | Start) and self._is_fenced(task) and self._fence.is_over:
            return  # looked at again once the manager has answered
        if step is None:
            if not seen:
                self._of_task.pop(task, None)
            return
        await self._take(task, step, assigned)
        self._queue.add(task)

    def _end_fenced(self, assigned: Assigned, seen: list[Container]) -> None:
        """Note that a single writer ends whose lease has ended. That is final, whatever is heard afterwards."""
        id, progress = assigned.task.id, self._progress.get(assigned.task.id)
        if not assigned.spec.single_writer or (progress is not None and progress.state in TERMINAL):
            return
        mark = fingerprint(assigned.task)
        own = [one.id for one in seen if one.fingerprint == mark]
        if own and self._fence.ends(own[0]):  # a task has one container
            self._progress[id] = Progress(State.STOPPED, Reason.FENCED, self._fence.words)

    def _is_fenced(self, task: str) -> bool:
        assigned = (self._assigned or {}).get(task)
        return assigned is not None and assigned.spec.single_writer

    def _fenced(self) -> list[str] | None:
        """Ids of the containers of single writers that may run; None until that is known."""
        if self._assigned is None or not self._listed.is_set():
            return None
        found = (self._containers_of(id) for id in self._writers)
        shown = [one.id for here in found for one in here if one.status is not Status.EXITED]
        shown += [one.id for one in self._silent.values() if one.task in self._writers]
        return shown + [missed for id in self._writers if (missed := self._missed(self._assigned[id]))]

    def _tell_fence(self) -> None:
        """It need not look before a single writer is assigned, once that is known of all."""
        if self._assigned is not None and self._listed.is_set():
            self._fence.concern(bool(self._writers))

    def _look_at_fenced(self) -> None:
        for id in self._writers:
            self._queue.add(id)

    async def _look_again(self, task: str) -> None:
        """See what the step that nobody answered did: a container that it started may have ended since, and by an
        older picture it would be started a second time."""
        for id in sorted(self._of_task.get(task, ())):
            await self._look_at(id)
        self._doubted.discard(task)

    def _missed(self, assigned: Assigned) -> str:
        """Id of the container that a live task is known to have had, where the picture does not show it; else empty. A
        list without it is not enough to call the task failed, and have another one run beside it."""
        task, progress = assigned.task, self._progress.get(assigned.task.id)
        ended = progress is not None and RANK[progress.state] > RANK[State.RUNNING]
        # What a namesake left behind is not the task's own.
        shown = fingerprint(task) in [one.fingerprint for one in self._containers_of(task.id)]
        if shown or ended or not task.live:
            return ""
        said = self.outbox.said(task.id)
        return (said.container_id if said is not None else "") or task.container_id

    def _say(self, assigned: Assigned, seen: list[Container]) -> None:
        task = assigned.task.id
        progress = self._progress.get(task)
        observation = observe(assigned, seen, progress, self._probes.checks(task))
        if observation is None:
            return
        if progress is None or RANK[observation.state] > RANK[progress.state]:
            prepared = progress is not None and progress.prepared
            self._progress[task] = Progress(observation.state, observation.reason, observation.message, prepared)
        if self.outbox.say(observation):
            log.debug("observed", node=self._node, task=task, state=observation.state, reason=observation.reason)

    async def _take(self, task: str, step: Step, of: Assigned | None) -> None:
        """Do one step and renew the picture. What the engine refuses for good ends the task."""
        try:
            match step:
                case Prepare(image, pull):
                    self._advance(of, Progress(State.PREPARING, Reason.PULLING, image))
                    await self._engine.prepare(image, pull)
                    self._advance(of, Progress(State.PREPARING, Reason.PULLING, image, prepared=True))
                case Create(order):
                    async with self._starts:
                        container = await self._engine.create(order)
                        # Seen without asking again: were the engine to fall silent now, the task would seem gone. As
                        # the newest: a list that is under way may know nothing of it yet.
                        self._learn(container.id, container, next(self._questions))
                        if container.status is Status.CREATED:
                            self._advance(of, Progress(State.STARTING, Reason.STARTING, prepared=True))
                            await self._start(of, container.id)
                case Start(container_id):
                    async with self._starts:
                        await self._start(of, container_id)
                case Stop(container_id, grace_s):
                    await self._engine.stop(container_id, self._grace_s(task, container_id, grace_s))
                    await self._look_at(container_id)
                case Remove(container_id):
                    await self._engine.remove(container_id)
                    await self._look_at(container_id)
        except Refused as failure:
            self._advance(of, Progress(State.REJECTED, _reason(step, failure), _words(step, failure)))
            log.warning("engine refused", node=self._node, task=task, reason=failure.message)

    def _grace_s(self, task: str, container_id: str, asked_s: float) -> float:
        progress = self._progress.get(task)
        ends = progress is not None and progress.reason is Reason.FENCED
        return self._fence.grace_s(container_id, asked_s) if ends else asked_s

    async def _start(self, of: Assigned | None, container_id: str) -> None:
        """Unless the task was taken back, or is to end, while it waited for its turn or its container was made: by then
        another may run in its place, and no lease covers this one. Nor if its container has run meanwhile, or is gone:
        a killed worker's start may still have been on its way."""
        assigned, seen = self._still(of), self._containers.get(container_id)
        if assigned is None or not assigned.task.live or assigned.task.wanted in (Wanted.STOPPED, Wanted.REMOVED):
            return
        if seen is None or seen.status is not Status.CREATED:
            return
        if assigned.spec.single_writer:
            await self._fence.cover()
        try:
            await self._engine.start(container_id)
        except NotFound:
            log.info("container went before its start", node=self._node, container=container_id)
        await self._look_at(container_id)

    def _advance(self, of: Assigned | None, progress: Progress) -> None:
        """Note how far the task has come, and say so; unless it was taken back while its step was under way."""
        assigned = self._still(of)
        if assigned is not None:
            self._progress[assigned.task.id] = progress
            self._say(assigned, self._containers_of(assigned.task.id))

    def _still(self, of: Assigned | None) -> Assigned | None:
        """The task that a step was begun for, as it is assigned now. None if it is not any more: its id may have come
        again since, and what was done for the earlier task says nothing of this one."""
        assigned = (self._assigned or {}).get(of.task.id) if of is not None else None
        same = of is not None and assigned is not None and assigned.task.created_at == of.task.created_at
        return assigned if same else None


def _words(step: Step, failure: Failure) -> str:
    """The engine's own, which need not name the image that a registry refused."""
    if isinstance(step, Prepare) and step.image not in failure.message:
        return f"{step.image}: {failure.message}"
    return failure.message


def _reason(step: Step, failure: Failure) -> Reason:
    if isinstance(step, Prepare):
        return Reason.IMAGE_MISSING
    return Reason.PORT_TAKEN if isinstance(failure, PortTaken) else Reason.START_REFUSED
