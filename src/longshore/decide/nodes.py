"""What becomes of a node that is silent or leaves, and of its tasks.

Liveness itself is not state: how long a node may still be silent comes in as an argument, measured on one monotonic
clock by whoever holds the sessions. Only ready and down are committed. A node that is heard again is made ready by its
session, not here. How a node that is drained gives its tasks up is `rollout`'s, which starts others first.

Where most nodes are silent at once, it is more likely that the manager is cut off than that they died, and there is no
room for their tasks either: then nobody is declared down, and that is said. A node that the user drains or removes is
given up all the same.
"""

from collections.abc import Collection

from msgspec.structs import replace

from longshore.model.changes import Change, deleted
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Availability, Kind, Node, NodeStatus, Role, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot

HELD_NODES_MIN = 3
"""A cluster of fewer nodes knows no difference between most and one."""
HELD_LOOK_S = 2.0

_Decision = tuple[list[Change], float | None]


def decide(
    world: Snapshot, name: str, now: float, silence_left_s: float, *, closed: bool = False, held: str = ""
) -> _Decision:
    """Changes for node `name` and its tasks, and when to look again.

    `silence_left_s`: seconds for which the node may still be silent; zero or less if it has been silent for too long,
    and then `closed` says whether because its connection broke, and `held` why nobody is declared down now, if so.
    """
    node = world.nodes.get(name)
    live = [task for task in world.tasks_of_node(name).values() if task.live]
    live.sort(key=lambda task: (task.service, task.slot, task.generation))
    if node is None:
        return [_lost(task, f"node {name} was removed", now) for task in live], None
    if node.availability is Availability.LEAVING and not live:
        return forgotten(world, node, Owner.NODES), None
    if node.status is NodeStatus.DOWN:
        return [_lost(task, node.message, now) for task in live], None
    if silence_left_s > 0:
        return [], now + silence_left_s
    if held and not node.availability.gives_up:
        return _kept(node, held), now + HELD_LOOK_S
    return _down(node, live, closed, now), None


def held(world: Snapshot, quiet: Collection[str]) -> str:
    """Why no node is declared down just now; empty if silent ones are. `quiet` are the nodes that are missed. Those
    that the user has given up do not count, so that giving up nodes lets the cluster go on."""
    joined = [one for one in world.nodes.values() if one.worker_version and not one.availability.gives_up]
    ready = [one.name for one in joined if one.status is NodeStatus.READY]
    missed = sum(name in quiet for name in ready)
    if len(joined) < HELD_NODES_MIN or 2 * missed <= len(ready):
        return ""
    return f"{missed} of {len(ready)} nodes are silent at once"


def forgotten(world: Snapshot, node: Node, by: Owner) -> list[Change]:
    """Delete the node and the tokens that speak for it; its worker, if it lives, is not let in again."""
    tokens = [
        deleted(Kind.TOKEN, id, token.revision, by, Reason.NODE_REMOVED)
        for id, token in sorted(world.tokens.items())
        if token.role is Role.NODE and token.node == node.name
    ]
    return [deleted(Kind.NODE, node.name, node.revision, by, Reason.NODE_REMOVED), *tokens]


def _kept(node: Node, held: str) -> list[Change]:
    """Say that a node is silent and keeps its tasks, and what the user can do. Nothing if that is said."""
    message = f"silent; evictions are held: {held}; `longshore node drain {node.name}` gives its tasks up"
    after = replace(node, reason=Reason.NODE_HELD, message=message)
    return [] if after == node else [_told(node, after)]


def _down(node: Node, live: list[Task], closed: bool, now: float) -> list[Change]:
    message = (
        f"the connection of node {node.name} ended, and it has not come back"
        if closed
        else f"node {node.name} has not been heard of for longer than the heartbeat timeout"
    )
    down = replace(node, status=NodeStatus.DOWN, reason=Reason.NODE_SILENT, message=message, changed_at=now)
    return [_told(node, down), *(_lost(task, message, now) for task in live)]


def _told(before: Node, after: Node) -> Change:
    """The change of a node that says of itself why."""
    return Change(
        kind=Kind.NODE,
        id=before.name,
        before=before.revision,
        after=after,
        by=Owner.NODES,
        reason=after.reason,
        message=after.message,
    )


def _lost(task: Task, message: str, now: float) -> Change:
    """Take the task from its worker. It may still run where nobody can hear it: the node gives it up on its return."""
    lost = replace(task, state=State.LOST, ready=False, reason=Reason.NODE_LOST, message=message, finished_at=now)
    return Change(
        kind=Kind.TASK,
        id=task.id,
        before=task.revision,
        after=lost,
        by=Owner.NODES,
        reason=Reason.NODE_LOST,
        message=message,
    )
