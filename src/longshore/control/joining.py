"""Who may be which node: what a worker's Hello changes.

A join token makes a node, and makes the worker's own token the one that speaks for that node alone. A worker that
lost its token may take its name again with a new join token once the old node is down, never while it lives.
"""

import re

from msgspec.structs import replace

from longshore.decide.admission import admit_address, admit_node_labels, admit_node_name
from longshore.decide.placing import admit_resources, admit_taints
from longshore.model.changes import Change, Guard, deleted
from longshore.model.errors import Conflict, Denied, Invalid
from longshore.model.lifecycle import Owner
from longshore.model.messages import Hello
from longshore.model.objects import Kind, Node, NodeStatus, Role, Token
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot

_SHA256 = re.compile(r"[0-9a-f]{64}")


def admitted(
    world: Snapshot,
    hello: Hello,
    token: Token | None,
    *,
    now: float,
    connected: bool,
    lease_s: float,
    dialled: str = "",
) -> list[Change]:
    """The changes that let the worker in, by the token it came with (None: this manager dialled it, at `dialled`);
    `lease_s` is what it is about to be told.

    Raises Denied or Invalid for good, Conflict if it may try again later.
    """
    admit_node_name(hello.node, field="node")
    admit_address(hello.address, field="address")
    admit_node_labels(hello.labels, field="labels")
    admit_taints(hello.taints, field="taints")
    admit_resources(hello.resources, field="resources")
    node = world.nodes.get(hello.node)
    if token is None:
        _check_place(world, hello.node, dialled)
        if connected:
            raise Conflict(f"node {hello.node} is connected already; two of the workers to dial have one name")
        return _node_changes(node, hello, now, lease_s)
    if token.role is Role.NODE:
        if token.node != hello.node:
            raise Denied(f"this token speaks for node {token.node}, not for {hello.node}", known=True)
        current = world.tokens.get(token.id)
        if current is None or current.sha256 != token.sha256:
            raise Denied(f"node {hello.node} was removed from this cluster, or has joined anew", known=True)
        return _node_changes(node, hello, now, lease_s)
    if token.role is not Role.JOIN:
        raise Denied("a worker joins with a join token (longshore token create)", known=True)
    if node is not None and (connected or node.status is NodeStatus.READY):
        raise Conflict(
            f"node {hello.node} exists and is ready; give this worker another name (-n), or wait until it is down"
        )
    if not _SHA256.fullmatch(hello.token_sha256):
        raise Invalid("a worker that joins says the SHA-256 of its own token", field="token_sha256")
    changes = _node_changes(node, hello, now, lease_s)
    changes.append(_node_token(world, hello, now))
    changes += _used(world, token)
    return changes


def relied_on(world: Snapshot, token: Token | None) -> tuple[Guard, ...]:
    """A token that opens while it is there, and is not written: a node's own, or one with which any number of workers
    join, many at once."""
    current = world.tokens.get(token.id) if token is not None else None
    if current is None or current.uses_left is not None:
        return ()
    return (Guard(kind=Kind.TOKEN, id=current.id, revision=current.revision),)


def _check_place(world: Snapshot, name: str, dialled: str) -> None:
    """A worker that was dialled is the node that its address was registered for, and no node from elsewhere."""
    expected = sorted(node.name for node in world.nodes.values() if node.dial and node.dial == dialled)
    if expected and name not in expected:
        raise Denied(f"the worker at {dialled} is {name}, and {' or '.join(expected)} is to be there", known=True)
    node = world.nodes.get(name)
    if node is not None and node.dial and node.dial != dialled:
        raise Denied(
            f"node {name} is to be at {node.dial}, and this worker is at {dialled or 'another place'}", known=True
        )


def _node_token(world: Snapshot, hello: Hello, now: float) -> Change:
    made = Token(id=f"node-{hello.node}", role=Role.NODE, sha256=hello.token_sha256, node=hello.node, created_at=now)
    return _token_change(made, world.tokens.get(made.id), Reason.TOKEN_CREATED)


def _node_changes(node: Node | None, hello: Hello, now: float, lease_s: float) -> list[Change]:
    first = node is None or not node.worker_version
    after = node or Node(name=hello.node)
    if first:
        after = replace(
            after,
            labels={**hello.labels, **after.labels},
            taints=after.taints or hello.taints,
            resources={**hello.resources, **after.resources},
            joined_at=now,
        )
    reason = Reason.NODE_JOINED if first else Reason.NODE_RETURNED
    was_ready = node is not None and node.status is NodeStatus.READY
    after = replace(
        after,
        address=hello.address,
        capacity=hello.capacity,
        engine=hello.engine,
        worker_version=hello.version,
        # Until it is heard to know the shorter one, it may go by the longer.
        lease_s=max(after.lease_s, lease_s),
        status=NodeStatus.READY,
        reason=after.reason if was_ready and not after.held else reason,
        message="",
        changed_at=after.changed_at if was_ready else now,
    )
    if after == node:
        return []
    before = node.revision if node is not None else 0
    return [Change(kind=Kind.NODE, id=hello.node, before=before, after=after, by=Owner.WORKER, reason=reason)]


def _token_change(token: Token, old: Token | None, reason: Reason) -> Change:
    return Change(
        kind=Kind.TOKEN,
        id=token.id,
        before=old.revision if old is not None else 0,
        after=token,
        by=Owner.MANAGER,
        reason=reason,
    )


def _used(world: Snapshot, token: Token) -> list[Change]:
    """One use less of a join token whose uses are counted; the last one deletes it."""
    current = world.tokens.get(token.id)
    if current is None:
        raise Denied("the join token was used up or revoked meanwhile", known=True)
    if current.uses_left is None:
        return []
    if current.uses_left <= 1:
        return [deleted(Kind.TOKEN, current.id, current.revision, Owner.MANAGER, Reason.TOKEN_USED)]
    return [_token_change(replace(current, uses_left=current.uses_left - 1), current, Reason.TOKEN_USED)]
