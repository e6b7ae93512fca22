"""gokube's spelling of Cube's API: the path is `/task`, and some names end differently.

Nothing else: what it says is Cube's, and so is what it does.
"""

import msgspec

from longshore.api.compat.cube import HostPort, show_task
from longshore.decide.postings import Shown


class GokubeTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task as `/task` shows it."""

    id: str = msgspec.field(name="ID")
    container: str = msgspec.field(name="ContainerId")
    name: str = msgspec.field(name="Name")
    state: int = msgspec.field(name="State")
    image: str = msgspec.field(name="Image")
    memory: int = msgspec.field(name="Memory")
    disk: int = msgspec.field(name="Disk")
    exposed_port: dict[str, dict[str, str]] | None = msgspec.field(name="ExposedPort")
    host_ports: dict[str, list[HostPort]] | None = msgspec.field(name="HostPorts")
    port_bindings: dict[str, str] | None = msgspec.field(name="PortBindings")
    restart_policy: str = msgspec.field(name="RestartPolicy")
    started_at: str = msgspec.field(name="StartTime")
    finished_at: str = msgspec.field(name="FinishTime")
    health_check: str = msgspec.field(name="HealthCheck")
    restarts: int = msgspec.field(name="RestartCount")


class Refusal(msgspec.Struct, frozen=True):
    """gokube's error answer."""

    status: int = msgspec.field(name="HttpStatusCode")
    message: str = msgspec.field(name="Message")


def show(shown: Shown) -> GokubeTask:
    task = show_task(shown)
    return GokubeTask(
        id=task.id,
        container=task.container,
        name=task.name,
        state=task.state,
        image=task.image,
        memory=task.memory,
        disk=task.disk,
        exposed_port=task.exposed_ports,
        host_ports=task.host_ports,
        port_bindings=task.port_bindings,
        restart_policy=task.restart_policy,
        started_at=task.started_at,
        finished_at=task.finished_at,
        health_check=task.health_check,
        restarts=task.restarts,
    )
