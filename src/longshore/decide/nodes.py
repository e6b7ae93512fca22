"""What becomes of a node that is silent or drained, and of its tasks.

Liveness itself is not state: how long a node may still be silent comes in as an argument, measured on one monotonic
clock by whoever holds the sessions. Only ready and down are committed. A node that is heard again is made ready by its
session, not here.
"""

from msgspec.structs import replace

from longshore.model.changes import Change, deleted, raise_wanted
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Kind, Node, NodeStatus, Role, Task
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot


def decide(world: Snapshot, name: str, now: float, silence_left_s: float) -> tuple[list[Change], float | None]:
    """Changes for node `name` and its tasks, and when to look again.

    `silence_left_s`: seconds for which the node may still be silent; zero or less if it has been silent for too long.
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
    if silence_left_s <= 0:
        return _down(node, live, now), None
    again = now + silence_left_s
    if not node.availability.gives_up:
        return [], again
    words = f"node {name} is {node.availability}"
    stops = (raise_wanted(task, Wanted.STOPPED, Reason.NODE_DRAINED, Owner.NODES, words) for task in live)
    return [change for change in stops if change is not None], again


def forgotten(world: Snapshot, node: Node, by: Owner) -> list[Change]:
    """Delete the node and the tokens that speak for it; its worker, if it lives, is not let in again."""
    tokens = [
        deleted(Kind.TOKEN, id, token.revision, by, Reason.NODE_REMOVED)
        for id, token in sorted(world.tokens.items())
        if token.role is Role.NODE and token.node == node.name
    ]
    return [deleted(Kind.NODE, node.name, node.revision, by, Reason.NODE_REMOVED), *tokens]


def _down(node: Node, live: list[Task], now: float) -> list[Change]:
    message = f"node {node.name} has not been heard of for longer than the heartbeat timeout"
    down = replace(node, status=NodeStatus.DOWN, reason=Reason.NODE_SILENT, message=message, changed_at=now)
    change = Change(
        kind=Kind.NODE,
        id=node.name,
        before=node.revision,
        after=down,
        by=Owner.NODES,
        reason=Reason.NODE_SILENT,
        message=message,
    )
    return [change, *(_lost(task, message, now) for task in live)]


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
