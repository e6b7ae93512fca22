"""Sees everything as it happens, and says what should not have: at every commit and before every act on an engine.

Knows what was really done to the world, which the cluster does not, so it can tell a node that fell silent from one
that was declared down for nothing, and a container that was taken away from one that its own worker removed. Tells the
story as it goes. What must be true only in the end is in `simulate.checks`.
"""

import hashlib
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping

import msgspec

from longshore.control.liveness import RECONNECT_S
from longshore.decide.dependencies import meanwhile, service_for, waits
from longshore.decide.fence import is_fenced
from longshore.decide.nodes import HELD_NODES_MIN
from longshore.decide.placement.constraints import eligible
from longshore.decide.rollout import starts_first
from longshore.engine.fake_containers import Box
from longshore.model.changes import Batch, Event
from longshore.model.containers import fingerprint
from longshore.model.invariants import broken
from longshore.model.lifecycle import RANK, Owner, State, Wanted
from longshore.model.objects import Kind, Node, NodeStatus, Object, Service, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot, service_of_task
from longshore.model.spec import Mode, ServiceSpec, volumes_of
from longshore.simulate.beside import Beside
from longshore.simulate.displacing import Displacing
from longshore.simulate.doubled import doubled_in
from longshore.simulate.mending import Mending
from longshore.simulate.placed import Places
from longshore.simulate.site import Site
from longshore.simulate.story import Told, Voice, of_event
from longshore.simulate.unruly import StoreTroubles
from longshore.simulate.world import HEARTBEAT_TIMEOUT_S, World

QUIET_S = 60.0
"""A machine to which nothing was done for so long has no reason to be silent: longer than a hang and a silent
connection take to be noticed, and the worker to come back."""
PATIENCE_S = 20.0
"""In this time a manager notices that a machine is dead, and brings the store to know it."""
LOOK_EVERY_S = 1.0
UNAWARE_S = 2.5
"""How old the news may be that a decision rested on which lands now, of what it is not guarded by."""
ILL_S = 60.0
"""After a store stalled or failed, what was asked of it then may still land, and who asked may wait to ask again."""
WINDOW_S = 60.0
TASKS_PER_WINDOW_MAX = 30
"""Of one slot. Crashes back off, so only a fault after the other makes a slot get more than some ten."""
PLENTY = 10**9
PROMPT_S = 0.001
"""What two readings of the same moment may differ by."""


class Witness:
    """Of one world, which it makes."""

    def __init__(
        self,
        seed: int,
        nodes: int,
        *,
        policy: str = "",
        troubles: StoreTroubles | None = None,
        alarm: Callable[[], None] = lambda: None,
    ) -> None:
        """`alarm` is called when the first sentence is broken."""
        self.story: list[Told] = []
        self.broken: list[str] = []
        """Sentences that should have held."""
        self.world = World(seed, nodes, told=self.story.append, asked=self._asked, policy=policy, troubles=troubles)
        self._alarm = alarm
        self._known: dict[tuple[Kind, str], Object] = {}
        """Every record as of the last event that was looked at."""
        self._touched: set[str] = set()
        """Services whose tasks changed since slots were last looked at."""
        self._last_at = 0.0
        self._events = hashlib.sha256()
        self._given_up: dict[tuple[str, Mode], dict[str | int, Task]] = defaultdict(dict)
        """By service and place (its node if the service is global, else its slot): the ready task that a rollout
        stopped, until its place serves again."""
        self._mending = Mending(self.world.policy)
        self._node_changed: dict[str, float] = {}
        """When each node's record was last written, by the true time."""
        self._taken_back: dict[str, list[tuple[ServiceSpec, ServiceSpec]]] = defaultdict(list)
        """By service: what was wished and failed, and what it was rolled back to."""
        self._beside = Beside(self.world)
        self._places = Places()
        self._displacing = Displacing()
        self._looked_at = self.world.read()
        """The snapshot in which everything was looked at last."""
        self._open_at: dict[tuple[str, int], float] = {}
        self._shut_at: dict[tuple[str, int], float] = {}
        """By service and release: when it last had nothing to wait for, and when something, by the true time."""
        self._went_on: dict[tuple[str, int], Service] = {}
        """By service and release: as what the service went on while that had to wait."""
        self._forgotten: list[Task] = []
        """Tasks whose records the commit that is looked at deleted: it was decided with them."""
        self._made: dict[tuple[str, int], deque[float]] = defaultdict(lambda: deque(maxlen=TASKS_PER_WINDOW_MAX))
        """By slot: when it got its latest tasks."""

    @property
    def events_digest(self) -> str:
        """Of everything that was ever committed: equal only for worlds that went the same way."""
        return self._events.hexdigest()

    def came_from(self, name: str, spec: ServiceSpec) -> list[ServiceSpec]:
        """A wish for service `name`, and all that it was rolled back to."""
        reached = [spec]
        for kept in reached:
            reached += [after for before, after in self._taken_back[name] if before == kept and after not in reached]
        return reached

    def note(self, sentence: str) -> None:
        """Something should have held, and did not. Said once."""
        if sentence not in self.broken:
            self.broken.append(sentence)
            self.world.tell(Voice.BROKEN, sentence)
            self._alarm()

    async def watch(self) -> None:
        """Follow the store for ever: it keeps more events than there are between two of its commits."""
        async for batch in self.world.durable.watch(0):
            self._landed(batch)

    async def look(self) -> None:
        """At the machines, every second for ever: what is dead is found to be dead before long."""
        world = self.world
        while True:
            await world.pass_time(LOOK_EVERY_S)
            for sentence in self._beside.two_writers():
                self.note(sentence)
            if world.manager is None or world.clock.monotonic() - world.manager_since < PATIENCE_S:
                continue
            snapshot, at = world.read(), world.clock.monotonic()
            for sentence in self._mending.look(snapshot, world.now(), at, self._quiet_since()):
                self.note(sentence)
            for site in world.sites.values():
                self._check_dead(site, snapshot)

    def _quiet_since(self) -> float:
        """Since when the manager has had its store and its time to itself."""
        world = self.world
        if world.store_is_ill:
            return world.clock.monotonic()
        return max(
            world.manager_since,
            world.store_harmed_at + ILL_S,
            world.wall_set_at + QUIET_S if world.wall_set_at >= 0 else 0.0,
        )

    def _unaware_s(self) -> float:
        """How old the news may be that a change which lands now was decided on."""
        world = self.world
        well = not world.store_is_ill and world.clock.monotonic() - world.store_harmed_at > ILL_S
        return UNAWARE_S if well else ILL_S

    def _check_dead(self, site: Site, snapshot: Snapshot) -> None:
        node = snapshot.nodes.get(site.name)
        if node is None:
            return
        if node.status is NodeStatus.READY:
            dead_s = self.world.clock.monotonic() - max(site.harmed_at, self._quiet_since())
            if not site.on and not node.held and dead_s > PATIENCE_S and not self._most_are_ill():
                self.note(f"{site.name} has been dead for {PATIENCE_S:.0f} s, and is not down")

    def _most_are_ill(self) -> bool:
        """Whether the cluster may have missed most nodes a moment ago: then each that is back is patience for all."""
        sites, now = self.world.sites.values(), self.world.clock.monotonic()
        ill = sum(not site.on or now - site.harmed_at < PATIENCE_S for site in sites)
        return len(sites) >= HELD_NODES_MIN and 2 * ill > len(sites)

    # -- commits

    def _landed(self, batch: Batch) -> None:
        self._events.update(msgspec.json.encode(batch))
        snapshot = self.world.read()
        for one in self._looked_at.services.values():  # who waited did so until now, and who did not neither
            shut = bool(waits(self._looked_at, one))
            since = self._shut_at if shut else self._open_at
            since[one.name, one.release] = self.world.clock.monotonic()
            if shut:
                self._went_on[one.name, one.release] = meanwhile(self._looked_at, one)
        gone = (self._known.get((event.kind, event.id)) for event in batch.events if event.after is None)
        self._forgotten = [one for one in gone if isinstance(one, Task)]
        for event in batch.events:
            before = self._known.get((event.kind, event.id))
            line = of_event(event, before)
            if line is not None:
                self.world.tell(Voice.CLUSTER, line)
            self._check_event(event, before, snapshot)
            if event.after is None:
                self._known.pop((event.kind, event.id), None)
            else:
                self._known[event.kind, event.id] = event.after
            if event.kind is Kind.TASK:
                self._touched.add(service_of_task(event.id))
                self._see_place(before, event.after)
        if snapshot.revision == batch.revision:  # else there are more to come of the same moment
            doubled = doubled_in(snapshot, sorted(self._touched))
            self._touched.clear()
            placed = self._misplaced(snapshot)
            for sentence in (*broken(snapshot, self._looked_at), *doubled, *self._beside.wrong(snapshot), *placed):
                self.note(sentence)
            self._looked_at = snapshot

    def _see_place(self, before: Object | None, after: Object | None) -> None:
        was, task = (one if isinstance(one, Task) else None for one in (before, after))
        node = self._known.get((Kind.NODE, task.node)) if task is not None else None
        self._places.saw(was, task, node if isinstance(node, Node) else None, self.world.clock.monotonic())

    def _misplaced(self, snapshot: Snapshot) -> Iterable[str]:
        """What was placed against the rules, as they were when that was decided."""
        since = self.world.clock.monotonic() - self._unaware_s()
        settled = max(self._node_changed.values(), default=0.0) < since
        return self._places.wrong(snapshot, since, settled=settled)

    def _check_event(self, event: Event, before: Object | None, snapshot: Snapshot) -> None:
        if not str(event.reason):
            self.note(f"{event.by} changed {event.kind} {event.id} without a reason")
        if event.at < self._last_at and self.world.wall_set_at < 0:
            self.note(f"revision {event.revision} is older than the one before it")
        self._last_at = event.at
        after = event.after
        if event.kind is Kind.VOLUME and after is None:
            self._beside.forget(event.id)
        if isinstance(after, Node):
            self._node_changed[after.name] = self.world.clock.monotonic()
        if isinstance(before, Service):
            self._displacing.wished(before, after if isinstance(after, Service) else None, self.world.clock.monotonic())
        if isinstance(after, Node) and isinstance(before, Node):
            self._check_node(after, before)
        elif isinstance(after, Service) and isinstance(before, Service) and event.by is Owner.DEPLOYMENTS:
            self._taken_back[after.name].append((before.spec, after.spec))
        elif event.kind is Kind.SERVICE and after is None:
            for mode in Mode:
                self._given_up.pop((event.id, mode), None)
        elif isinstance(after, Task) and before is None:
            self._check_made(after)
            self._check_order(after, snapshot)
        elif isinstance(after, Task) and isinstance(before, Task):
            if after.state is not before.state:
                self._check_end(after)
            self._check_rollout(event, after, before, snapshot)
            self._check_displaced(event, after, before, snapshot)

    def _check_node(self, after: Node, before: Node) -> None:
        """Nobody is declared down before a full timeout, or the shorter time that a broken connection leaves; nor
        without having been silent."""
        if after.held and not before.held:
            self._check_held(after)
        if after.status is before.status or after.status is not NodeStatus.DOWN:
            return
        world = self.world
        now = world.clock.monotonic()
        heard_at = before.changed_at - world.now() + now
        site = world.sites[after.name]
        # A worker that is frozen does not come to note that its connection has ended.
        ended = site.link is not None and (site.link.manager.over or site.link.worker.over)
        parted = ended or max(site.parted_at, site.cable.late_until) > heard_at
        least_s = RECONNECT_S if parted else HEARTBEAT_TIMEOUT_S
        if after.changed_at - before.changed_at < least_s - PROMPT_S:
            self.note(f"{after.name} is declared down {after.changed_at - before.changed_at:.1f} s after it was heard")
        elif now - world.manager_since < HEARTBEAT_TIMEOUT_S - PROMPT_S:
            self.note(f"{after.name} is declared down {now - world.manager_since:.1f} s after the manager's start")
        elif now - max(site.harmed_at, world.manager_since) > QUIET_S and site.running is not None:
            self.note(f"{after.name} is declared down, and nothing was done to it")

    def _check_held(self, node: Node) -> None:
        """Evictions are held only where most nodes that were ready had reason to be silent. When that was decided, one
        that has changed since may have been either."""
        now = self.world.clock.monotonic()
        ready, troubled = 0, 0
        for one in self.world.read().nodes.values():
            site = self.world.sites[one.name]
            ill = not site.on or now - max(site.harmed_at, self.world.manager_since) < QUIET_S
            changed = one.name != node.name and now - self._node_changed[one.name] < self._unaware_s()
            if ill if changed else one.status is NodeStatus.READY and not one.availability.gives_up:
                ready, troubled = ready + 1, troubled + ill
        if 2 * troubled <= ready:
            self.note(f"evictions are held for {node.name}, and {troubled} of {ready} nodes are in trouble")

    def _check_made(self, task: Task) -> None:
        """Whatever goes wrong, a slot does not get one task after the other without end."""
        made = self._made[task.service, task.slot]
        if len(made) == TASKS_PER_WINDOW_MAX and task.created_at - made[0] < WINDOW_S:
            self.note(f"slot {task.service}.{task.slot} gets more than {TASKS_PER_WINDOW_MAX} tasks a minute")
        made.append(task.created_at)

    def _check_order(self, task: Task, snapshot: Snapshot) -> None:
        """The first task of a release in its slot is made only once the release may start."""
        service = snapshot.services.get(task.service)
        lacks = waits(snapshot, service) if service is not None and task.release == service.release else ()
        if service is None or not lacks:
            return
        known = [*snapshot.tasks_of_service(task.service).values(), *self._forgotten]
        slot = [one for one in known if (one.service, one.slot) == (task.service, task.slot)]
        first = all(one.release != task.release or one.generation >= task.generation for one in slot)
        if first and not self._was_lately(self._open_at, service):
            self.note(f"{task.id} is started, although it waits for {'; '.join(lacks)}")

    def _was_lately(self, since: Mapping[tuple[str, int], float], service: Service) -> bool:
        """Whether who decided may have seen the current release of a service so, open or shut."""
        at = since.get((service.name, service.release), -math.inf)
        return self.world.clock.monotonic() - at <= self._unaware_s()

    def _check_end(self, after: Task) -> None:
        """A task is lost, or its container gone, only where that is so."""
        site = self.world.sites.get(after.node)
        if after.state is State.LOST:
            node = self._known.get((Kind.NODE, after.node))
            if isinstance(node, Node) and node.status is NodeStatus.READY:
                self.note(f"{after.id} is lost, although {after.node} is ready")
        if after.reason is Reason.CONTAINER_GONE and site is not None and fingerprint(after) not in site.taken:
            self.note(f"the container of {after.id} is said to be gone, and nobody took it")

    def _check_rollout(self, event: Event, after: Task, before: Task, snapshot: Snapshot) -> None:
        """A rollout makes only so many places at a time stop serving, and waits until they serve again."""
        service = snapshot.services.get(after.service)
        if service is None:
            return
        if after.counts and after.ready:
            # Of all modes: a service may have another one for a while, and is served meanwhile.
            for one in Mode:
                self._given_up[service.name, one].pop(after.pinned if one is Mode.GLOBAL else after.slot, None)
        if service.spec.mode is Mode.JOB:
            return
        mode, place = service.spec.mode, after.pinned if service.spec.mode is Mode.GLOBAL else after.slot
        given_up = self._given_up[service.name, mode]
        served = any(
            task.counts and task.ready and task.slot == after.slot
            for task in snapshot.tasks_of_service(service.name).values()
        )
        if (
            event.reason is Reason.RELIEVED
            and before.ready
            and before.counts
            and not served
            and "takes over" in event.message
        ):
            self.note(f"{after.id} is relieved by a task that is not ready")
        left = before.ready and before.counts and not after.counts and not served
        # What has its volume on a node that is drained serves nowhere until that node is back.
        release = snapshot.release(after.service, after.release)
        stranded = event.reason is Reason.NODE_DRAINED and release is not None and volumes_of(release.spec)
        if left and not stranded and event.revision == snapshot.revision:
            self._check_taken_out(event, after, service, snapshot)
        if event.by is Owner.ROLLOUT and left and not stranded:
            others = [task.id for task in given_up.values() if self._wants(service, task, snapshot)]
            rules = [service.spec, *self._went_on_by(service, snapshot)]
            if len(others) >= max(one.update.parallelism or PLENTY for one in rules):
                self.note(f"the rollout of {service.name} stops {after.id}, although {others[0]} is not replaced yet")
            given_up[place] = after

    def _check_displaced(self, event: Event, after: Task, before: Task, snapshot: Snapshot) -> None:
        """Nobody gives way to others but for room that one of higher priority claims, nor more than may be spared."""
        now = self.world.clock.monotonic()
        self._displacing.see(after, before, event.reason, now)
        if event.reason is Reason.DISPLACED and event.revision == snapshot.revision:
            for sentence in self._displacing.wrong(after, before, snapshot, now, self._unaware_s()):
                self.note(sentence)

    def _check_taken_out(self, event: Event, task: Task, service: Service, snapshot: Snapshot) -> None:
        """Who serves is taken out by the cluster itself only for what the rules of the service allow: start-first only
        once another serves, or where nothing fits beside it; and never by who only fills slots."""
        if not task.live or not self._wants(service, task, snapshot):
            return
        if event.by is Owner.SERVICES and (service.spec.mode is Mode.GLOBAL) == bool(task.pinned):
            self.note(f"{task.id} is taken out although it serves and is wanted: {event.reason}")
        # Until the current release may start, the one that a task runs says how it gives way, or the one by which the
        # service goes on as it was. And nobody runs beside a single writer, whatever follows it.
        own, shut = snapshot.release(task.service, task.release), bool(waits(snapshot, service))
        rules = [service.spec] if not shut or self._was_lately(self._open_at, service) else []
        if own is not None and (shut or self._was_lately(self._shut_at, service)):
            rules.append(own.spec)
            rules += self._went_on_by(service, snapshot)
        first = all(starts_first(one) for one in rules) and not is_fenced(snapshot, task)
        if event.by is Owner.ROLLOUT and first and "nothing fits beside it" not in event.message:
            self.note(f"{task.id} is taken out before another serves in its place")

    def _went_on_by(self, service: Service, snapshot: Snapshot) -> list[ServiceSpec]:
        """The former wishes by which a service goes on, or just did, while its current release has to wait."""
        went_on = [meanwhile(snapshot, service)]
        if self._was_lately(self._shut_at, service):
            went_on.append(self._went_on[service.name, service.release])
        return [one.spec for one in went_on if one.release != service.release]

    def _wants(self, service: Service, task: Task, snapshot: Snapshot) -> bool:
        """Whether a service still wants something in the place of `task`, and does not wait with it for others."""
        following, own = service_for(snapshot, service, task), snapshot.release(task.service, task.release)
        other = own is not None and own.spec.mode is not service.spec.mode
        if following is None or (other and self._was_lately(self._shut_at, service)):
            return False  # it went on as what it was before, by that mode's rules
        if service.spec.mode is not Mode.GLOBAL:
            slots = {one.slot for one in snapshot.tasks_of_service(service.name).values()}
            return task.slot <= service.spec.replicas and task.slot in slots  # else it was gone in between
        node = snapshot.nodes.get(task.pinned)
        # Who decided may have seen the node just before it came back, and the release before it had to wait.
        long = self.world.clock.monotonic() - self._node_changed.get(task.pinned, 0.0) > self._unaware_s()
        turned = bool(waits(snapshot, service)) and self._was_lately(self._open_at, service)
        return long and not turned and node is not None and eligible(node, following.spec)

    def _may_be_over(self, site: Site) -> bool:
        """Whether a worker had reason to think that it has no manager, now or just before it heard of one again."""
        trouble = max(site.harmed_at, self.world.manager_since)
        return self.world.manager is None or self.world.clock.monotonic() - trouble < QUIET_S

    # -- acts on an engine

    def _asked(self, site: Site, verb: str, task_id: str, mark: str, box: Box | None) -> None:
        task = self.world.read().task(task_id)
        if task is None or task.node != site.name or fingerprint(task) != mark:
            return
        wanted = task.live and task.wanted is Wanted.RUNNING
        # What an engine that lied had begun once more is stopped again.
        dead = verb == "stop" and box is not None and (_dead(site, box) or box.id in site.lies.misled)
        fenced = box is not None and box.order.spec.single_writer and self._may_be_over(site)
        if verb == "remove" and fenced:
            site.taken.add(mark)  # its worker may die before it has said so, and the next knows no better
        if verb in ("stop", "remove") and wanted and not dead and not fenced:
            self.note(f"the worker of {site.name} asks to {verb} the container of {task_id}, which is wanted")
        if verb == "create" and RANK[State.STARTING] <= RANK[task.state] < RANK[State.LOST]:
            self.note(f"the worker of {site.name} makes another container for {task_id}, which has had one")
        if verb == "start" and box is not None and box.runs and not box.running and box.id not in site.lies.misled:
            self.note(f"the worker of {site.name} starts the container of {task_id} once more")


def _dead(site: Site, box: Box) -> bool:
    """Whether a worker may have found that a container does not live: it was seen not to answer, or ended unseen."""
    return box.order.spec.liveness is not None and (box.id in site.ailed or not box.running)
