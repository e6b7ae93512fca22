"""A worker without an engine, light enough for ten thousand of them in one process: what it hears and says.

Speaks the session's own messages, and says of a task what a worker with an instant engine would: accepted, and running
once that is acknowledged. Keeps to the outbox's rule, one batch under way and the newest observation of each task.
Knows no sockets and no schedule; a `Record` takes down what happened when.
"""

import asyncio
import hashlib
from collections.abc import Callable

import msgspec

from bench.frames import framed
from longshore import __version__
from longshore.model.containers import Assigned
from longshore.model.lifecycle import RANK, State, Wanted
from longshore.model.messages import (
    Acknowledge,
    Assignment,
    AssignmentPart,
    Down,
    Farewell,
    Heartbeat,
    Hello,
    Observation,
    Reports,
    Welcome,
)
from longshore.model.objects import Capacity, EngineFacts, NodeStats, Task
from longshore.model.parts import Gathering
from longshore.model.reasons import Reason

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Down] = msgspec.json.Decoder(Down)
BEAT = framed(_ENCODER.encode(Heartbeat(stats=NodeStats(cpu_used=0.5, load_1m=0.5, memory_used=1 << 30))))
ANSWER = _ENCODER.encode(Acknowledge(seq=0))
"""What answers a beat, byte by byte: not worth decoding two thousand times a second."""
CAPACITY = Capacity(cpu=8.0, memory=32 << 30, disk=1 << 40)


class Record:
    """What all workers of a process saw since it was begun. Moments are `time.monotonic`, which all processes share;
    those of assignments are the wall clock's, as those of commits are."""

    def __init__(self) -> None:
        self.beats = 0
        self.missed = 0
        """Beats that were not answered when the next one was due."""
        self.answered_s: list[float] = []
        self.durable_s: list[float] = []
        """From a report until it was acknowledged."""
        self.received_at: dict[str, float] = {}
        """When a task was first heard of."""
        self.running_at: dict[str, float] = {}
        """When it was acknowledged that a task runs."""
        self.broken: list[str] = []
        """Why sessions ended that nobody here broke."""
        self._prefix = ""
        self._left = 0
        self._reached = asyncio.Event()

    def until(self, prefix: str, count: int) -> asyncio.Event:
        """Set once so many tasks whose ids begin like this, none of which runs yet, run."""
        self._prefix, self._left, self._reached = prefix, count, asyncio.Event()
        return self._reached

    def ran(self, id: str, at: float) -> None:
        """A task runs, and the manager knows."""
        self.running_at[id] = at
        if self._left and id.startswith(self._prefix):
            self._left -= 1
            if not self._left:
                self._reached.set()


class LightWorker:
    """One node's worker."""

    def __init__(self, name: str, now: Callable[[], float], wall: Callable[[], float]) -> None:
        self.name = name
        self.secret = hashlib.sha256(f"secret of {name}".encode()).hexdigest()
        self.joined = False
        self.refusal = ""
        self.send: Callable[[bytes], None] | None = None
        """Sends a frame; None while there is no session."""
        self.welcomed: Callable[[], None] | None = None
        self.running: dict[str, Task] = {}
        self._now = now
        self._wall = wall
        self._asked_at = 0.0
        """When the beat left that is not answered yet; zero if there is none."""
        self._unacknowledged: dict[str, tuple[Observation, Task]] = {}
        self._under_way: dict[str, Observation] = {}
        self._sent_at = 0.0
        self._seq = 0
        self._gathering = Gathering()

    def hello(self) -> bytes:
        """The first frame of a session."""
        self._asked_at, self._seq, self._under_way, self.refusal = 0.0, 0, {}, ""
        self._gathering = Gathering()
        message = Hello(
            node=self.name,
            version=__version__,
            labels={"zone": f"z{int(self.name[1:]) % 3}"},
            token_sha256=hashlib.sha256(self.secret.encode()).hexdigest(),
            address="127.0.0.1",
            capacity=CAPACITY,
            engine=EngineFacts(id=self.name, name=self.name, version="20.10.24", api_version="1.41"),
        )
        return framed(_ENCODER.encode(message))

    def beat(self, record: Record) -> None:
        """Send a heartbeat, if there is a session."""
        if self.send is None:
            return
        if self._asked_at:
            record.missed += 1
        record.beats += 1
        self._asked_at = self._now()
        self.send(BEAT)

    def hear(self, payload: bytes, record: Record) -> None:
        """One message of the manager."""
        if payload == ANSWER:
            if self._asked_at:
                record.answered_s.append(self._now() - self._asked_at)
                self._asked_at = 0.0
            return
        match _DECODER.decode(payload):
            case AssignmentPart() | Assignment() as message:
                whole = self._gathering.take(message)
                if whole is not None:
                    self._assign(whole, record)
            case Acknowledge(seq=seq) if seq == self._seq:
                self._acknowledged(record)
            case Welcome():
                self.joined = True
                if self.welcomed is not None:
                    self.welcomed()
            case Farewell(reason=reason):
                self.refusal = reason

    def fail(self) -> bool:
        """Have a container of its own die; False if it has none."""
        if self.send is None or not self.running:
            return False
        task = self.running.pop(next(iter(self.running)))
        self._say(task, State.FAILED, Reason.EXITED, exit_code=1)
        self._report()
        return True

    def _assign(self, message: Assignment, record: Record) -> None:
        if message.full:
            self.running = {}
        for id in message.removed:
            self.running.pop(id, None)
            self._unacknowledged.pop(id, None)
        for assigned in message.put:
            self._take(assigned, record)
        self._report()

    def _take(self, assigned: Assigned, record: Record) -> None:
        task = assigned.task
        record.received_at.setdefault(task.id, self._wall())
        gone = task.wanted in (Wanted.STOPPED, Wanted.REMOVED)
        if task.state is State.LOST:
            self.running.pop(task.id, None)
        elif not task.live:
            if task.container_id and task.wanted is Wanted.REMOVED:
                self._say(task, task.state, Reason.CONTAINER_REMOVED, container=False)
        elif gone:
            self.running.pop(task.id, None)
            self._say(task, State.STOPPED, Reason.STOPPED, container=task.wanted is not Wanted.REMOVED)
        elif task.state is State.RUNNING:
            self.running[task.id] = task
        elif RANK[task.state] < RANK[State.ACCEPTED]:
            self._say(task, State.ACCEPTED, Reason.ACCEPTED, container=False)
        else:
            self._run(task)

    def _run(self, task: Task) -> None:
        self.running[task.id] = task
        self._say(task, State.RUNNING, Reason.STARTED, ready=True)

    def _say(
        self,
        task: Task,
        state: State,
        reason: Reason,
        *,
        container: bool = True,
        ready: bool = False,
        exit_code: int | None = None,
    ) -> None:
        seen = Observation(
            task=task.id,
            created_at=task.created_at,
            state=state,
            ready=ready,
            container_id=hashlib.sha256(task.id.encode()).hexdigest() if container else "",
            exit_code=exit_code,
            reason=reason,
        )
        self._unacknowledged[task.id] = seen, task

    def _report(self) -> None:
        """Send what waits, if nothing is under way."""
        if self.send is None or self._under_way or not self._unacknowledged:
            return
        self._seq += 1
        self._under_way = {id: seen for id, (seen, _) in self._unacknowledged.items()}
        self._sent_at = self._now()
        self.send(framed(_ENCODER.encode(Reports(seq=self._seq, observations=tuple(self._under_way.values())))))

    def _acknowledged(self, record: Record) -> None:
        now = self._now()
        record.durable_s.append(now - self._sent_at)
        acknowledged, self._under_way = self._under_way, {}
        for id, seen in acknowledged.items():
            if self._unacknowledged.get(id, (None, None))[0] is not seen:
                continue
            _, task = self._unacknowledged.pop(id)
            if seen.state is State.ACCEPTED:
                self._run(task)
            elif seen.state is State.RUNNING:
                record.ran(id, now)
        self._report()
