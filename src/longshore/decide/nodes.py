"""What becomes of a node that is silent or leaves, and of its tasks.

Liveness itself is not state: how long a node may still be silent comes in as an argument, measured on one monotonic
clock by whoever holds the sessions. Only ready and down are committed. A node that is heard again is made ready by its
session, not here. How a node that is drained gives its tasks up is `rollout`'s, which starts others first.

Where most nodes are silent at once, it is more likely that the manager is cut off than that they died, and there is no
room for their tasks either: then nobody is declared down, and that is said. A node that the user drains or removes is
given up all the same.

A single-writer task is given up only when its container is dead whatever has become of its worker, which takes longer
than it takes to declare its node down: until then it stays live on a node that is down, and its slot waits.
"""

from collections.abc import Collection, Sequence

from msgspec.structs import replace

from longshore.decide import fence
from longshore.model.changes import Change, Guard, changed, deleted, on_node
from longshore.model.lifecycle import Owner, State
from longshore.model.objects import Availability, Kind, Node, NodeStatus, Role, Task
from longshore.model.reasons import Reason
from longshore.model.sharing import Shared
from longshore.model.snapshot import Snapshot

HELD_NODES_MIN = 3
"""A cluster of fewer nodes knows no difference between most and one."""
HELD_LOOK_S = 2.0

_Decision = tuple[list[Change], float | None]


def decide(
    world: Snapshot,
    name: str,
    now: float,
    silence_left_s: float,
    fence_left_s: float,
    *,
    closed: bool = False,
    held: str = "",
) -> _Decision:
    """Changes for node `name` and its tasks, and when to look again.

    `silence_left_s`: seconds for which the node may still be silent; zero or less if it has been silent for too long,
    and then `closed` says whether because its connection broke, and `held` why nobody is declared down now, if so.
    `fence_left_s`: seconds for which its single-writer tasks may still run there.
    """
    node = world.nodes.get(name)
    here = world.tasks_of_node(name).values()
    stays = node is not None and node.status is NodeStatus.READY and node.availability is not Availability.LEAVING
    if silence_left_s > 0 and stays:
        # Of nearly all nodes nearly always, and each is asked every few seconds.
        waiting = [task for task in here if task.reason is Reason.NODE_AWAITED and task.live]
        return _awaited_no_more(sorted(waiting, key=_place)), now + silence_left_s
    live, as_it_is = sorted((task for task in here if task.live), key=_place), on_node(name, node)
    awaited = [task for task in live if fence_left_s > 0 and fence.is_fenced(world, task)]
    over = [task for task in live if task not in awaited]
    awaited_until = now + fence_left_s if awaited else None
    if node is None:
        return [_lost(task, f"node {name} was removed", now, as_it_is) for task in over], awaited_until
    if node.availability is Availability.LEAVING and not live:
        return forgotten(world, node, Owner.NODES), None
    if node.status is NodeStatus.DOWN:
        lost = [_lost(task, node.message, now, as_it_is) for task in over]
        return [*lost, *_awaited(awaited, fence_left_s)], awaited_until
    if silence_left_s > 0:
        return _awaited_no_more(live), now + silence_left_s
    if held and not node.availability.gives_up:
        return _kept(node, held), now + HELD_LOOK_S
    down = _down(node, closed, now)
    lost = [_lost(task, down.message, now, as_it_is) for task in over]
    return [down, *lost, *_awaited(awaited, fence_left_s)], awaited_until


def held(world: Snapshot, quiet: Collection[str]) -> str:
    """Why no node is declared down just now; empty if silent ones are. `quiet` are the nodes that are missed. Those
    that the user has given up do not count, so that giving up nodes lets the cluster go on."""
    joined, ready = world.nodes.derive(_standing)
    missed = len(ready.intersection(quiet))
    if joined < HELD_NODES_MIN or 2 * missed <= len(ready):
        return ""
    return f"{missed} of {len(ready)} nodes are silent at once"


def _standing(nodes: Shared[Node]) -> tuple[int, frozenset[str]]:
    """How many have joined and are not given up, and which of those are ready."""
    joined = [one for one in nodes.values() if one.worker_version and not one.availability.gives_up]
    return len(joined), frozenset(one.name for one in joined if one.status is NodeStatus.READY)


def forgotten(world: Snapshot, node: Node, by: Owner) -> list[Change]:
    """Delete the node and the tokens that speak for it; its worker, if it lives, is not let in again."""
    tokens = [
        deleted(Kind.TOKEN, id, token.revision, by, Reason.NODE_REMOVED)
        for id, token in sorted(world.tokens.items())
        if token.role is Role.NODE and token.node == node.name
    ]
    return [deleted(Kind.NODE, node.name, node.revision, by, Reason.NODE_REMOVED), *tokens]


def _place(task: Task) -> tuple[str, int, int]:
    return (task.service, task.slot, task.generation)


def _kept(node: Node, held: str) -> list[Change]:
    """Say that a node is silent and keeps its tasks, and what the user can do. Nothing if that is said."""
    message = f"silent; evictions are held: {held}; `longshore node drain {node.name}` gives its tasks up"
    after = replace(node, reason=Reason.NODE_HELD, message=message)
    return [] if after == node else [_told(node, after)]


def _down(node: Node, closed: bool, now: float) -> Change:
    message = (
        f"the connection of node {node.name} ended, and it has not come back"
        if closed
        else f"node {node.name} has not been heard of for longer than the heartbeat timeout"
    )
    return _told(
        node, replace(node, status=NodeStatus.DOWN, reason=Reason.NODE_SILENT, message=message, changed_at=now)
    )


def _awaited(tasks: Sequence[Task], left_s: float) -> list[Change]:
    """Say of tasks what they wait for. Nothing if that is said."""
    return [
        _noted(
            task,
            Reason.NODE_AWAITED,
            f"node {task.node} is down; {task.id} is given up in {left_s:.1f} s, when its worker has stopped it",
        )
        for task in tasks
        if task.reason is not Reason.NODE_AWAITED
    ]


def _awaited_no_more(tasks: Sequence[Task]) -> list[Change]:
    """The node is back in time. What its worker says of them it may have said before, and would not say again."""
    return [_noted(task, Reason.NODE_RETURNED, "") for task in tasks if task.reason is Reason.NODE_AWAITED]


def _noted(task: Task, reason: Reason, message: str) -> Change:
    """The change of a task that goes on, and says why."""
    return changed(task, replace(task, reason=reason, message=message), Owner.NODES, reason, message)


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


def _lost(task: Task, message: str, now: float, node: Guard) -> Change:
    """Take the task from its worker. It may still run where nobody can hear it: the node gives it up on its return."""
    lost = replace(task, state=State.LOST, ready=False, reason=Reason.NODE_LOST, message=message, finished_at=now)
    return changed(task, lost, Owner.NODES, Reason.NODE_LOST, message, node)
