"""The releases of a service as its history: what each changed, who asked, and how it went."""

from longshore.model.errors import NotFound
from longshore.model.lifecycle import State
from longshore.model.objects import Release, ReleasePhase, Service
from longshore.model.snapshot import Snapshot
from longshore.model.views import ReleaseState, ReleaseView


def history(world: Snapshot, name: str) -> list[ReleaseView]:
    """The kept releases, newest first. Raises NotFound."""
    service = world.services.get(name)
    if service is None:
        raise NotFound(f"there is no service {name}")
    releases = sorted(world.own_releases(service).items(), reverse=True)
    return [_view(world, service, release) for _, release in releases]


def _view(world: Snapshot, service: Service, release: Release) -> ReleaseView:
    tasks = [one for one in world.tasks_of_service(service.name).values() if one.release == release.number]
    return ReleaseView(
        service=service.name,
        number=release.number,
        current=release.number == service.release,
        state=_state(service, release),
        message=release.message,
        author=release.author,
        changed=release.changed,
        rolls_back=release.rolls_back,
        failed_slots=release.failed_slots,
        tasks=sum(one.live for one in tasks),
        ready=sum(one.state is State.RUNNING and one.ready for one in tasks),
        spec=release.spec,
        created_at=release.created_at,
        finished_at=release.finished_at,
    )


def _state(service: Service, release: Release) -> ReleaseState:
    over = release.phase in (ReleasePhase.DONE, ReleasePhase.FAILED)
    if release.number != service.release and not over:
        return ReleaseState.SUPERSEDED
    return ReleaseState(release.phase.value)
