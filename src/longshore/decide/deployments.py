"""How the rollout of a service's current release goes: whether it is done, or failed, and what follows from that.

Reads the tasks of one service and writes its current release's record. A release is done once every slot is filled by
a task of it that is ready and stayed so for the monitoring time; it has failed once tasks in more slots failed than the
rules allow. Then it is rolled back to the last one that was done, or stops where it is. Which task gives way next is
`rollout`'s: a release that is paused or failed is taken no further there.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from longshore.decide import restart, wishes
from longshore.decide.placement.constraints import covers
from longshore.model.changes import Change
from longshore.model.errors import Conflict, Invalid
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Release, ReleasePhase, Service, Task
from longshore.model.reasons import Reason
from longshore.model.sharing import Part
from longshore.model.signs import finished, signs
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, OnFailure

Again = float | None

_FAILED = frozenset({State.FAILED, State.REJECTED})


def decide(world: Snapshot, name: str, now: float) -> tuple[list[Change], Again]:
    """Changes of the current release of service `name`, and when to look again."""
    service = world.services.get(name)
    release = world.release(name, service.release) if service is not None else None
    if service is None or release is None or release.phase not in (ReleasePhase.ROLLING, ReleasePhase.PAUSED):
        return [], None
    parts = world.tasks_of_service(name).parts
    tasks = [task for part in parts if signs(part).failed for task in part.tasks.values()]
    failed, again = _failed_slots(service, release, tasks, now)
    after = replace(release, failed_slots=failed)
    if release.phase is ReleasePhase.ROLLING and len(failed) > service.spec.update.failures_max:
        tasks = list(world.tasks_of_service(name).values())
        changes = _failure(world, service, after, tasks, now)
        if changes:
            return changes, None
    done_at = _done_at(world, service, parts)
    if done_at is not None and done_at <= now:
        after = replace(after, phase=ReleasePhase.DONE, message="", finished_at=now)
        return [_change(release, after, Reason.ROLLOUT_DONE)], None
    if failed != release.failed_slots:
        paused = release.phase is ReleasePhase.PAUSED  # and says why already
        words = release.message if paused else f"slots {', '.join(map(str, failed))} failed so far"
        return [_change(release, replace(release, failed_slots=failed, message=words), Reason.ROLLOUT_FAILED)], again
    looks = [at for at in (again, done_at) if at is not None]
    return [], min(looks, default=None)


def _failed_slots(
    service: Service, release: Release, tasks: Iterable[Task], now: float
) -> tuple[tuple[int, ...], Again]:
    """The slots in which a task of the release failed, and when one might that runs and is not ready."""
    failed = set(release.failed_slots)
    looks = []
    since = release.resumed_at or release.created_at
    for task in tasks:
        if task.release != release.number or task.created_at < since:
            continue
        if task.state in _FAILED and _early(service, task) and _again_or_for_good(service, task):
            failed.add(task.slot)
        elif task.state is State.RUNNING and not task.ready and task.started_at is not None:
            at = _unready_since(task, task.started_at, service.spec.update.ready_s) + service.spec.update.ready_s
            if at <= now:
                failed.add(task.slot)
            else:
                looks.append(at)
    return tuple(sorted(failed)), min(looks, default=None)


def _unready_since(task: Task, started_at: float, ready_s: float) -> float:
    """Since when a task that is not ready has to become so: a release may be rolled out for long, and one that served
    all the while does not fail it by one check. One that never kept still is not given its time again."""
    lost_at = task.ready_changed_at or started_at
    return lost_at if lost_at - started_at >= ready_s else started_at


def _again_or_for_good(service: Service, task: Task) -> bool:
    """Whether it is not the first in a row to fail, or the last that is tried: an engine may have a bad moment."""
    return task.attempt > 0 or restart.again(task, service.spec) is None


def _early(service: Service, task: Task) -> bool:
    """Whether a task that failed never proved itself. A host port that another program holds, or an end after a long
    life, says nothing of the release."""
    if task.reason is Reason.PORT_TAKEN:
        return False
    if task.started_at is None or task.finished_at is None:
        return True
    return task.finished_at - task.started_at <= max(service.spec.update.monitor_s, service.spec.restart.window_s)


def _done_at(world: Snapshot, service: Service, parts: Iterable[Part]) -> Again:
    """When all slots will have been served by this release for the monitoring time; None while they are not."""
    live = sum(signs(part).live for part in parts)
    if service.spec.mode is Mode.JOB:
        ended = finished(parts, service.release, service.spec.replicas)
        return 0.0 if not live and ended == service.spec.replicas else None
    served = [signs(part).served.get(service.release, (0, 0.0)) for part in parts]
    serving = sum(count for count, _ in served)
    if serving != live or serving != _slots(world, service):
        return None
    return max(latest for _, latest in served) + service.spec.update.monitor_s if serving else 0.0


def _slots(world: Snapshot, service: Service) -> int:
    if service.spec.mode is not Mode.GLOBAL:
        return service.spec.replicas
    has = frozenset[str]().union(*(signs(part).nodes for part in world.tasks_of_service(service.name).parts))
    return sum(covers(node, service.spec, has=name in has) for name, node in world.nodes.items())


def _failure(world: Snapshot, service: Service, release: Release, tasks: list[Task], now: float) -> list[Change]:
    """What follows when too many failed; nothing if that is to go on."""
    rule = service.spec.update.on_failure
    good = wishes.last_good(world, service)
    if rule is OnFailure.CONTINUE:
        return []
    words = _words(service, release, tasks)
    if rule is OnFailure.ROLLBACK and good is not None and not release.rolls_back:
        after = replace(release, phase=ReleasePhase.FAILED, message=words, finished_at=now)
        try:
            back = wishes.go_back(world, service, good, now, by=Owner.DEPLOYMENTS, message=words)
        except (Invalid, Conflict) as refusal:
            words = f"{words}; release {good.number} may not be wished any more: {refusal}"
        else:
            return [_change(release, after, Reason.ROLLOUT_FAILED), *back]
    if not any(task.counts and task.release != release.number for task in tasks):
        return []  # there is nothing to be spared from it
    if rule is OnFailure.ROLLBACK and good is None:
        words = f"{words}; no release before it was done, so there is none to come back to"
    return [_change(release, replace(release, phase=ReleasePhase.PAUSED, message=words), Reason.ROLLOUT_PAUSED)]


def _words(service: Service, release: Release, tasks: Iterable[Task]) -> str:
    """Which task failed last, and of what."""
    bad = [task for task in tasks if task.release == release.number and task.slot in release.failed_slots]
    last = max(bad, key=lambda task: (task.finished_at or task.started_at or 0.0, task.id), default=None)
    count, most = len(release.failed_slots), service.spec.update.failures_max
    said = f"{count} of its slots failed, and {most} may" if most else "a task of it failed"
    if last is None:
        return said
    cause = last.message or last.reason
    return f"{said}: {last.id}: " + (f"{last.reason}: {cause}" if last.message else last.reason.value)


def _change(before: Release, after: Release, reason: Reason) -> Change:
    return wishes.phase_change(before, after, reason, Owner.DEPLOYMENTS)
