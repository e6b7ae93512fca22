"""How a service stands against its wish, in counts, one word, and the first trouble in words.

Reads one service and its tasks; never the past beyond them, so a status is the same whoever asks and whenever. That a
slot was given up is not written anywhere: it follows from who filled it last and the restart policy.
"""

from collections.abc import Iterable, Mapping

from longshore.decide import dependencies, restart
from longshore.decide.placement.constraints import covers
from longshore.model.lifecycle import State
from longshore.model.objects import Release, ReleasePhase, Service, Task, by_slot, slot_by_node
from longshore.model.reasons import Reason
from longshore.model.sharing import Part
from longshore.model.signs import Signs, signs
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode
from longshore.model.views import Phase, ServiceStatus

_BAD_ENDS = frozenset({State.FAILED, State.REJECTED, State.LOST})
"""Only a job is meant to come to FINISHED; for others that is one more bad end."""
_OWN_ENDS = frozenset({State.FAILED, State.REJECTED, State.FINISHED})
_GRAVEST = (Phase.FAILED, Phase.DEGRADED, Phase.STARTING, Phase.REMOVING, Phase.RUNNING, Phase.COMPLETE)

Slots = Mapping[int, list[Task]]
"""Tasks by slot, each slot's oldest first."""


def status_of(world: Snapshot, service: Service) -> ServiceStatus:
    plain: list[Part] = []
    others: list[Part] = []
    for part in world.tasks_of_service(service.name).parts:
        (plain if _is_plain(service, signs(part)) else others).append(part)
    return _counted(world, service, others, plain)


def _is_plain(service: Service, seen: Signs) -> bool:
    """Whether each slot is one of those wanted and has one task, which counts and says of no trouble: then counts are
    all there is to tell."""
    in_place = service.spec.mode is not Mode.GLOBAL and seen.slot_last <= service.spec.replicas
    return in_place and seen.plain and not seen.hindered


def _counted(world: Snapshot, service: Service, parts: Iterable[Part], plain: Iterable[Part]) -> ServiceStatus:
    """The status from a look at the tasks of some parts, and the counts of the `plain` ones."""
    tasks = [task for part in parts for task in part.tasks.values()]
    others = [signs(part) for part in plain]
    slots = by_slot(tasks)
    wanted = _wanted(world, service, slots)
    counting = [task for task in tasks if task.counts]
    ready = [task for task in counting if _serves(task)]
    updated = [task for task in ready if task.release == service.release]
    updated_others = sum(seen.served.get(service.release, (0, 0.0))[0] for seen in others)
    finished = {slot for slot, here in wanted.items() if _is_done(service, here)}
    spent = {slot for slot, here in wanted.items() if slot not in finished and _is_spent(service, here)}
    count = service.spec.replicas if service.spec.mode is not Mode.GLOBAL else len(wanted)
    filled = len({task.slot for task in updated} & wanted.keys()) + updated_others
    live = sum(task.live for task in tasks) + sum(seen.live for seen in others)
    if service.spec.mode is Mode.JOB:
        settled = len(finished) == count and live == 0
    else:
        counted = len(counting) + sum(seen.counting for seen in others)
        moving = any(task.moves_to for task in counting) or any(seen.gives_way for seen in others)
        settled = filled == live == counted == count and not moving
    release = world.release(service.name, service.release)
    trouble = _held(release) or ("" if settled else _trouble(service, wanted, spent, counting))
    under_way = service.spec.mode is Mode.JOB and len(finished) + filled >= count
    return ServiceStatus(
        phase=_phase(service, settled, bool(spent), bool(trouble), under_way),
        wanted=count,
        running=sum(task.state is State.RUNNING for task in counting) + sum(seen.running for seen in others),
        ready=len(ready) + sum(seen.serving for seen in others),
        updated=len(updated) + updated_others,
        finished=len(finished),
        failed=len(spent),
        pending=sum(task.state is State.NEW for task in counting) + sum(seen.pending for seen in others),
        settled=settled,
        rollout=release.phase if release is not None else ReleasePhase.DONE,
        rolls_back=release.rolls_back if release is not None else 0,
        message=_message(world, service, count, trouble, settled),
    )


def _message(world: Snapshot, service: Service, count: int, trouble: str, settled: bool) -> str:
    if settled:
        return "no node is eligible" if _covers_nothing(service, count) else trouble
    return trouble or dependencies.told(world, service)


def _held(release: Release | None) -> str:
    if release is None or release.phase is not ReleasePhase.PAUSED:
        return ""
    return f"release {release.number} is paused: {release.message}"


def removing(world: Snapshot, name: str) -> ServiceStatus | None:
    """The status of a service that was removed and whose tasks still go; None if there is nothing left of it."""
    tasks = world.tasks_of_service(name)
    if name in world.services or not tasks:
        return None
    live = [task for task in tasks.values() if task.live]
    return ServiceStatus(
        phase=Phase.REMOVING,
        wanted=0,
        running=sum(task.state is State.RUNNING for task in live),
        ready=sum(_serves(task) for task in live),
        updated=0,
        finished=0,
        failed=0,
        pending=sum(task.state is State.NEW for task in live),
        settled=False,
        message=f"{len(live)} tasks to stop, {len(tasks) - len(live)} containers to remove",
    )


def app_phase(phases: Iterable[Phase]) -> Phase:
    """An app in one word: the gravest of its services'."""
    found = set(phases)
    return next((phase for phase in _GRAVEST if phase in found), Phase.COMPLETE)


def _wanted(world: Snapshot, service: Service, slots: Slots) -> Slots:
    """The slots that shall be filled and have a task, with what is in them; of a global service also the others."""
    if service.spec.mode is not Mode.GLOBAL:
        return {slot: here for slot, here in slots.items() if 1 <= slot <= service.spec.replicas}
    slot_of = slot_by_node(slots)
    wanted: dict[int, list[Task]] = {}
    for name, node in sorted(world.nodes.items()):
        here = slots.get(slot_of.get(name, 0), [])
        if covers(node, service.spec, has=any(task.counts for task in here)):
            # A node without a task yet has no slot either; any number that no slot has will do for counting.
            wanted[slot_of.get(name, -len(wanted) - 1)] = here
    return wanted


def _serves(task: Task) -> bool:
    return task.state is State.RUNNING and task.ready


def _is_done(service: Service, here: list[Task]) -> bool:
    """Whether a job's slot reached its end in this release."""
    job = service.spec.mode is Mode.JOB and bool(here)
    return job and here[-1].state is State.FINISHED and here[-1].release == service.release


def _is_spent(service: Service, here: list[Task]) -> bool:
    """Whether a slot was given up: who filled it last ended by itself and the restart policy says never again."""
    if not here or any(task.counts for task in here):
        return False
    former = restart.left_by(here)
    # A new release starts every slot afresh, whatever became of the old one.
    own = former.release == service.release and former.state in _OWN_ENDS
    return own and restart.again(former, service.spec) is None


def troubled(world: Snapshot, service: Service) -> Task | None:
    """The task that keeps the service from being as wished, if one does."""
    tasks = world.tasks_of_service(service.name).values()
    wanted = _wanted(world, service, by_slot(tasks))
    spent = {slot for slot, here in wanted.items() if not _is_done(service, here) and _is_spent(service, here)}
    return _troubled(service, wanted, spent, [task for task in tasks if task.counts])


def _trouble(service: Service, wanted: Slots, spent: set[int], counting: list[Task]) -> str:
    task = _troubled(service, wanted, spent, counting)
    if task is None:
        return ""
    return _told(task) if task.live else _loop(task, service) + _told(task)


def _troubled(service: Service, wanted: Slots, spent: set[int], counting: list[Task]) -> Task | None:
    """What keeps the service from being as wished: a slot given up before one that is tried again, what ended before
    what fails its check, and both before what waits for a node."""
    failed = []
    for slot, here in wanted.items():
        ended = [task for task in here if task.release == service.release and not task.live]
        if any(task.counts and task.reason is Reason.NO_NODE for task in here):
            ended = [task for task in ended if task.state is not State.LOST]  # what it waits for is said below
        if ended and _ended_badly(service, ended[-1]) and not any(task.counts and _serves(task) for task in here):
            failed.append((slot in spent, ended[-1].finished_at or 0.0, slot, ended[-1]))
    if failed:
        return max(failed)[-1]
    for reason in (Reason.UNHEALTHY, Reason.NO_NODE):
        for task in sorted(counting, key=lambda task: task.slot):
            if task.reason is reason and not task.ready:
                return task
    return None


def _ended_badly(service: Service, task: Task) -> bool:
    return task.state in _BAD_ENDS or (task.state is State.FINISHED and service.spec.mode is not Mode.JOB)


def _loop(task: Task, service: Service) -> str:
    """A crash loop by its name, and when it goes on."""
    ends, at = restart.loop_of(task, service.spec), restart.again(task, service.spec)
    if not ends:
        return ""
    after = f"next at {restart.moment(at)}" if at is not None else "given up"
    return f"crash loop: {ends} in a row, {after}; "


def _told(task: Task) -> str:
    return f"{task.id}: {task.reason}" + (f": {task.message}" if task.message else "")


def _covers_nothing(service: Service, count: int) -> bool:
    return service.spec.mode is Mode.GLOBAL and count == 0


def _phase(service: Service, settled: bool, spent: bool, trouble: bool, under_way: bool) -> Phase:
    if spent:
        return Phase.FAILED
    if settled:
        return Phase.COMPLETE if service.spec.mode is Mode.JOB else Phase.RUNNING
    if trouble:
        return Phase.DEGRADED
    # A job is never settled while it runs; once all that is left of it runs, it is as wished for now.
    return Phase.RUNNING if under_way else Phase.STARTING
