"""Where a slot's named volumes hold it, and where they are written down.

A volume is state: once a task of a slot was placed with one, the slot stays with the engine that has it, for on any
other the engine would make an empty one of the same name. What several services mount by one name is one volume, so
the second goes where the first is. A service that is on every node has its volumes there, and is not held by them.
Knows records of volumes and a spec's mounts; no room, no scores.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

import msgspec
from msgspec.structs import replace

from longshore.model.changes import Change, deleted
from longshore.model.errors import Conflict, NotFound
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Kind, Node, Task, Volume, volume_id
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Mode, ServiceSpec, volumes_of

PINNED = "pinned to another node"


class Tie(msgspec.Struct, frozen=True):
    """A task may go to some nodes only."""

    words: str
    """What the others lack: the explanation that the user reads."""
    nodes: frozenset[str]
    advice: str = ""
    """What to do if none of these ever takes it."""


Ties = tuple[Tie, ...]


class Volumes:
    """The volumes of one snapshot, and those placed since."""

    def __init__(self, world: Snapshot) -> None:
        self._world = world

    # Both only where somebody mounts a volume: most passes of placement are about tasks that do not.

    @cached_property
    def _by_name(self) -> dict[str, dict[str, Volume]]:
        found: dict[str, dict[str, Volume]] = defaultdict(dict)
        for volume in self._world.volumes.values():
            found[volume.name][volume.id] = volume
        return found

    @cached_property
    def _on(self) -> dict[str, set[str]]:
        """Names of the nodes on each machine."""
        found: dict[str, set[str]] = defaultdict(set)
        for node in self._world.nodes.values():
            found[node.machine].add(node.name)
        return found

    def ties(self, task: Task, spec: ServiceSpec) -> Ties:
        """What holds `task` to some of the nodes, the strictest first."""
        if task.pinned:
            return (Tie(PINNED, frozenset((task.pinned,))),)
        found = (self._tie(task, name) for name in volumes_of(spec))
        return tuple(tie for tie in found if tie is not None)

    def place(self, task: Task, spec: ServiceSpec, node: Node, now: float) -> list[Change]:
        """The changes that say where the volumes of `task` are once it is placed on `node`."""
        if spec.mode is Mode.GLOBAL:
            return []
        changes = []
        for name in volumes_of(spec):
            id = volume_id(name, task.service, task.slot)
            known = self._by_name[name].get(id)
            stays = known is not None and known.machine == node.machine
            placed = Volume(
                name=name,
                service=task.service,
                slot=task.slot,
                node=node.name,
                machine=node.machine,
                task=task.id,
                created_at=known.created_at if known is not None and stays else now,
            )
            self._by_name[name][id] = placed
            changes.append(_placed(placed, known.revision if known is not None else 0))
        return changes

    def _tie(self, task: Task, name: str) -> Tie | None:
        """To the slot's own volume; if it has none yet, to those that other services mount by the same name."""
        known = self._by_name[name]
        own = known.get(volume_id(name, task.service, task.slot))
        if own is not None and not self._is_unused(own):
            return self._to(name, [own])
        foreign = [one for _, one in sorted(known.items()) if one.service != task.service]
        others = [one for one in foreign if not self._is_unused(one)]
        return self._to(name, others) if others else None

    def _is_unused(self, volume: Volume) -> bool:
        """Whether no task of its slot was ever started with it: all since the one that it was placed for were rejected
        before they had a container."""
        slot = [
            one
            for one in self._world.tasks_of_service(volume.service).values()
            if one.slot == volume.slot and one.placed_at is not None and one.placed_at >= volume.created_at
        ]
        first = any(one.placed_at == volume.created_at for one in slot)
        return first and all(one.state is State.REJECTED and not one.container_id for one in slot)

    def _to(self, name: str, volumes: Iterable[Volume]) -> Tie:
        where, nodes, gone = [], set(), []
        for one in volumes:
            here = self._on.get(one.machine, set())
            nodes |= here
            node = self._world.nodes.get(one.node)
            where.append(one.node if node is None or here else f"an engine that {one.node} had before")
            gone.append(f"`longshore volume forget {one.id}`")
        advice = f"where {name} is lost for good, {' and '.join(gone)} lets it start on an empty one elsewhere; "
        advice += "`longshore volume place` says that it is on another node now"
        return Tie(f"volume {name} is on {' and '.join(dict.fromkeys(where))}", frozenset(nodes), advice)


def forget(world: Snapshot, id: str) -> list[Change]:
    """Let a slot start on an empty volume elsewhere. Raises NotFound, and Conflict while a task has the volume."""
    volume = _free(world, id)
    return [deleted(Kind.VOLUME, id, volume.revision, Owner.USER, Reason.VOLUME_FORGOTTEN)]


def set_place(world: Snapshot, id: str, name: str) -> list[Change]:
    """Take a volume to be on a node, to which the user has brought it. Raises NotFound, and Conflict while a task has
    the volume."""
    volume, node = _free(world, id), world.nodes.get(name)
    if node is None:
        raise NotFound(f"there is no node {name}")
    after = replace(volume, node=name, machine=node.machine)
    if after == volume:
        return []
    told = f"{volume.node} to {name}"
    return [
        Change(
            kind=Kind.VOLUME,
            id=id,
            before=volume.revision,
            after=after,
            by=Owner.USER,
            reason=Reason.VOLUME_MOVED,
            message=told,
        )
    ]


def _free(world: Snapshot, id: str) -> Volume:
    volume = world.volumes.get(id)
    if volume is None:
        raise NotFound(f"there is no volume {id}; `longshore volume ls` shows those that there are")
    user = user_of(world, volume)
    if user is not None:
        raise Conflict(f"{user.id} has volume {id} on {user.node}; scale {user.service} down or remove it first")
    return volume


def user_of(world: Snapshot, volume: Volume) -> Task | None:
    """The task that has the volume now."""
    slot = (one for one in world.tasks_of_service(volume.service).values() if one.slot == volume.slot)
    return next((one for one in slot if one.live and one.node), None)


def _placed(volume: Volume, before: int) -> Change:
    return Change(
        kind=Kind.VOLUME,
        id=volume.id,
        before=before,
        after=volume,
        by=Owner.PLACEMENT,
        reason=Reason.VOLUME_PLACED,
        message=f"with {volume.task} on {volume.node}",
    )
