"""The simulation of fntkg/container-orchestrator, whose tasks are `{ID, Status}` and whose nodes are `{ID, Healthy}`.

Its ids are any words. A task of its has no image, so it is kept and shown as pending with a reason; a node of its is a
record without a worker until one joins under that name. A field that it does not know may be added: a task with an
Image runs, a node with an address is dialled.
"""

import msgspec

from longshore.api.compat.cube import is_healthy
from longshore.api.compat.reading import Fields
from longshore.model.errors import Invalid
from longshore.model.views import NodeView


class NodeWish(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    healthy: bool
    dial: str
    """`host:port` of its worker; empty if that is not said."""


class PlainNode(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="ID")
    healthy: bool = msgspec.field(name="Healthy")


class Updated(msgspec.Struct, frozen=True):
    status: str = "updated"


def read_node(node: Fields) -> NodeWish:
    """A node to register: its id, whether it is healthy, and perhaps where its worker can be dialled."""
    name = node.text("ID", "Name", "nodeName")
    if not name:
        raise Invalid("ID is missing", field="ID")
    api = node.text("Api", "Address", "nodeIpaddr")
    dial = api.removeprefix("http://").rstrip("/")
    # What is registered with an address is meant to work, so it is healthy unless that is denied.
    healthy = node.truth("Healthy") if node.has("Healthy") else bool(dial)
    return NodeWish(name=name, healthy=healthy, dial=dial)


def show_node(node: NodeView) -> PlainNode:
    return PlainNode(node.name, is_healthy(node))
