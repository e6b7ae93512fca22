"""Whole files: one with every supported key, one as it is written for one machine, and the examples."""

from pathlib import Path

import pytest

from longshore.compose import ComposeApp, load, table
from longshore.compose.matrix import page
from longshore.compose.page import Fields, Value
from longshore.compose.services import DEFAULT
from longshore.decide.admission import admit, admit_app_name, admit_name
from longshore.model.errors import Invalid
from longshore.model.placing import Affinity, Preference, Spread, TaintEffect, Toleration
from longshore.model.spec import (
    Condition,
    Dependency,
    ExecProbe,
    HealthCheck,
    HttpProbe,
    Ingress,
    Limits,
    LogRotation,
    Mode,
    Mount,
    MountKind,
    OnFailure,
    PlacementRules,
    Port,
    Preemption,
    Probe,
    Protocol,
    Pull,
    Resources,
    RestartOn,
    RestartPolicy,
    ServiceSpec,
    TcpProbe,
    UpdateOrder,
    UpdateRules,
)
from tests.tables.composed import marked

MIB = 1024 * 1024
ROOT = Path(__file__).parents[2]
HERE = Path(__file__).with_name("compose")


def test_every_supported_key() -> None:
    app = load(HERE / "every.yaml", env={"REPLICAS": "7"})
    web = ServiceSpec(
        image="registry.example:5000/web:1.27-alpine",
        replicas=7,
        pull=Pull.ALWAYS,
        command=("serve", "--port", "80", "a b"),
        entrypoint=("/bin/entry", "--"),
        env={
            "MODE": "production",
            "URL": "http://localhost:8080/",
            "GREETING": "costs $5",
            "SECRET": "pa$$word",
            "MULTI": "first\nsecond",
            "LEVEL": "debug",
            "HTTP_PORT": "8080",
        },
        user="1000:1000",
        working_dir="/site",
        hostname="web",
        labels={"tier": "front", "owner": "me"},
        stop_signal="SIGQUIT",
        stop_grace_s=90.0,
        resources=Resources(cpu=0.25, memory=128 * MIB, pids=200, named={"gpu": 1, "licences": 2}, shares={"tpu": 0.5}),
        limits=Limits(cpu=1.5, memory=512 * MIB, pids=100),
        ports=(
            Port(container=80, host=8080),
            Port(container=9000),
            Port(container=9001),
            Port(container=53, host=5353, protocol=Protocol.UDP, ip="127.0.0.1"),
            Port(container=8080, ingress=Ingress.HTTP, listen=8443),
        ),
        mounts=(
            Mount(kind=MountKind.VOLUME, source="every_data", target="/data"),
            Mount(kind=MountKind.BIND, source=str(HERE / "site"), target="/site", read_only=True),
            Mount(kind=MountKind.VOLUME, source="company-shared", target="/shared", read_only=True),
            Mount(kind=MountKind.BIND, source="/srv/media", target="/media"),
            Mount(kind=MountKind.TMPFS, target="/cache", size_bytes=64 * MIB),
            Mount(kind=MountKind.TMPFS, target="/run", size_bytes=MIB),
        ),
        read_only=True,
        cap_add=("NET_BIND_SERVICE",),
        cap_drop=("ALL",),
        no_new_privileges=True,
        log=LogRotation(size_bytes=MIB, files=2),
        health=HealthCheck(
            test=("CMD", "wget", "-q", "http://localhost/"),
            interval_s=5.0,
            timeout_s=2.0,
            retries=4,
            start_period_s=10.0,
        ),
        restart=RestartPolicy(condition=RestartOn.ON_FAILURE, delay_s=5.0, attempts_max=5, window_s=120.0),
        update=UpdateRules(
            order=UpdateOrder.STOP_FIRST,
            parallelism=2,
            delay_s=1.0,
            monitor_s=8.0,
            failures_max=2,
            on_failure=OnFailure.PAUSE,
        ),
        placement=PlacementRules(
            constraints=("node.labels.disk==ssd",),
            prefers=(Preference(constraint="!node.labels.old", weight=2),),
            platform="linux/amd64",
            per_node_max=2,
            tolerations=(Toleration(key="dedicated", value="web", effect=TaintEffect.NO_SCHEDULE),),
            affinity=(Affinity(service="old", over="node.labels.zone", weight=5),),
            anti_affinity=(Affinity(service="web"), Affinity(selector=("tier==data",))),
            spread=(Spread(over="node.labels.zone"), Spread(over="node.labels.rack", skew_max=2, weight=3)),
            policy="spread=2,image=1",
            rebalance=True,
        ),
        liveness=Probe(tcp=TcpProbe(port=80), start_period_s=20.0),
        readiness=Probe(
            http=HttpProbe(port=80, path="/health", headers={"Host": "web.example"}, accepts=(200, 204)),
            interval_s=2.0,
            timeout_s=1.0,
            retries=4,
            successes=2,
        ),
    )
    old = ServiceSpec(
        image="old",
        replicas=2,
        resources=Resources(memory=32 * MIB),
        limits=Limits(cpu=0.5, memory=64 * MIB, pids=50),
        health=HealthCheck(test=("NONE",)),
        depends=(Dependency(service="web", condition=Condition.READY),),
        readiness=Probe(exec=ExecProbe(command=("test", "-f", "/ready"))),
        single_writer=True,
        priority=-10,
        preemption=Preemption.NEVER,
    )
    volumes = {"data": "every_data", "shared": "company-shared"}
    assert app == ComposeApp(name="every", services={"web": web, "old": old}, volumes=volumes)


def test_every_key_of_the_table_is_asked_for_and_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the table has and no reader asks for would be ignored in silence."""
    found: dict[tuple[str, str], bool] = {}
    get = Fields.get

    def recorded(self: Fields, key: str) -> Value | None:
        value = get(self, key)
        found[self.level.path, key] = found.get((self.level.path, key), False) or value is not None
        return value

    monkeypatch.setattr(Fields, "get", recorded)
    load(HERE / "every.yaml", env={})
    assert found == {(level.path, key): True for level in table.LEVELS for key in level.supported}


def test_a_file_written_for_one_machine() -> None:
    file = HERE / "refused.yaml"
    expected = marked(file.read_text(), str(file))
    with pytest.raises(Invalid) as caught:
        load(file, env={})
    lines = caught.value.message.split("\n")
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize("file", sorted(ROOT.glob("examples/*/compose.yaml")), ids=lambda file: file.parent.name)
def test_examples_are_admitted(file: Path) -> None:
    app = load(file, env={})
    admit_app_name(app.name, field="name")
    for name, spec in app.services.items():
        admit_name(name, field="services")
        admit(spec)
    text = file.read_text()
    assert f"longshore up -f {file.relative_to(ROOT)}" in text


def test_the_demo_app() -> None:
    web = load(ROOT / "examples/web/compose.yaml", env={}).services["web"]
    assert (web.image, web.mode, web.replicas) == ("longshore/demo:1", Mode.REPLICATED, 3)
    assert [(port.container, port.host) for port in web.ports] == [(8080, None)]


def test_the_matrix_in_the_repository_is_the_generated_one() -> None:
    written = (ROOT / "docs/compose.md").read_text()
    assert written == page(), "run: python -m longshore.compose.matrix > docs/compose.md"


def test_every_key_has_a_note_and_one_verdict() -> None:
    for level in table.LEVELS:
        assert not set(level.supported) & set(level.refused), level.path
        for key, note in (*level.supported.items(), *level.refused.items()):
            assert note, f"{level.path}.{key}"
            assert "\n" not in note


def test_defaults_are_the_specs_own() -> None:
    """What a file does not say is left to the spec, so that every door has the same defaults."""
    assert load(ROOT / "tests/tables/compose/least.yaml", env={}).services == {"web": DEFAULT}
