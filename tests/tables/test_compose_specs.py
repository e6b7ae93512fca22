"""What is legal in a Compose file, however odd it is spelled, and the spec that comes of it."""

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from longshore.model.placing import Affinity, Preference, Spread, TaintEffect, Toleration, TolerationOperator
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
    PlacementRules,
    Port,
    Probe,
    Protocol,
    Pull,
    Resources,
    RestartOn,
    RestartPolicy,
    ServiceSpec,
    UpdateRules,
)
from tests.tables.composed import app_of, assert_refused, service, spec_of

MIB = 1024 * 1024
ENV = {"HOME": "/home/me", "FROM_ENV": "there", "EMPTY": "", "N": "4", "YES": "true", "NULL": "null"}


def volume(source: str, target: str, **more: Any) -> Mount:
    return Mount(kind=MountKind.VOLUME, source=source, target=target, **more)


def bind(source: str, target: str, **more: Any) -> Mount:
    return Mount(kind=MountKind.BIND, source=source, target=target, **more)


def tmpfs(target: str, **more: Any) -> Mount:
    return Mount(kind=MountKind.TMPFS, target=target, **more)


TEXTS: list[tuple[str, dict[str, Any]]] = [
    ("depends_on:", {"depends": ()}),
    ("depends_on: []", {"depends": ()}),
    ("depends_on: {db: {required: false, restart: false}}", {"depends": ()}),
    ("x-longshore:", {}),
    ("x-longshore: {}", {}),
    ("x-longshor: {liveness: 1}", {}),
    (
        "x-longshore:\n  liveness:\n    command: [pg_isready, -q]\n    timeout: 500ms",
        {"liveness": Probe(exec=ExecProbe(command=("pg_isready", "-q")), timeout_s=0.5)},
    ),
    (
        "x-longshore: {readiness: {http: {port: 80, headers: {X-A: 1, X-B: true}}}}",
        {"readiness": Probe(http=HttpProbe(port=80, headers={"X-A": "1", "X-B": "true"}))},
    ),
    ("command: sleep 3600", {"command": ("sleep", "3600")}),
    ("command: sh -c 'echo \"a b\"'", {"command": ("sh", "-c", 'echo "a b"')}),
    ("command: [sleep, 3600]", {"command": ("sleep", "3600")}),
    ("command: ['a b', '']", {"command": ("a b", "")}),
    ("command:", {"command": None}),
    ("command: >\n  a\n  b", {"command": ("a", "b")}),
    ("entrypoint: /run me", {"entrypoint": ("/run", "me")}),
    ("entrypoint: []", {"entrypoint": ()}),
    ("entrypoint: ''\ncommand: []", {"entrypoint": (), "command": ()}),
    ("user: 1000", {"user": "1000"}),
    ("user: 017", {"user": "017"}),
    ("user: 22:22", {"user": "22:22"}),
    ("user: on", {"user": "on"}),
    ("user: 2001-01-01", {"user": "2001-01-01"}),
    ("user: !!str true", {"user": "true"}),
    ("user: ! null", {"user": "null"}),
    ("user: ${YES}", {"user": "true"}),
    ("user: ${NULL}", {"user": "null"}),
    ("working_dir: /srv", {"working_dir": "/srv"}),
    ("hostname: me", {"hostname": "me"}),
    ("stop_signal: SIGINT", {"stop_signal": "SIGINT"}),
    ("stop_signal: 15", {"stop_signal": "15"}),
    ("stop_grace_period: 1m30s", {"stop_grace_s": 90.0}),
    ("stop_grace_period: 500ms", {"stop_grace_s": 0.5}),
    ("stop_grace_period: 1h", {"stop_grace_s": 3600.0}),
    ("stop_grace_period: 1.5s", {"stop_grace_s": 1.5}),
    ("stop_grace_period: '0'", {"stop_grace_s": 0.0}),
    ("stop_grace_period: 1m0.25s", {"stop_grace_s": 60.25}),
    ("read_only: true", {"read_only": True}),
    ("read_only: 'true'", {"read_only": True}),
    ("read_only: ${YES}", {"read_only": True}),
    ("read_only: False", {"read_only": False}),
    ("cap_add: [NET_ADMIN]\ncap_drop:\n- ALL", {"cap_add": ("NET_ADMIN",), "cap_drop": ("ALL",)}),
    ("cap_add:", {"cap_add": ()}),
    ("pull_policy: always", {"pull": Pull.ALWAYS}),
    ("pull_policy: if_not_present", {"pull": Pull.MISSING}),
    ("pull_policy: missing", {"pull": Pull.MISSING}),
    ("pull_policy: never", {"pull": Pull.NEVER}),
    ("security_opt: [no-new-privileges]", {"no_new_privileges": True}),
    ("security_opt: ['no-new-privileges:true']", {"no_new_privileges": True}),
    ("security_opt: ['no-new-privileges:false']", {"no_new_privileges": False}),
    ("security_opt: [no-new-privileges=false]", {"no_new_privileges": False}),
    (
        "deploy: {replicas: 100, update_config: {max_failure_ratio: 0.29}}",
        {"replicas": 100, "update": UpdateRules(failures_max=29)},
    ),
    ("deploy: {mode: global, update_config: {max_failure_ratio: 0}}", {"mode": Mode.GLOBAL}),
    ("x-mine: {anything: [1, $, 2]}", {}),
    ("user: a # a note", {"user": "a"}),
]

ENVIRONMENT: list[tuple[str, dict[str, Any]]] = [
    ("environment: {A: 1, B: text}", {"env": {"A": "1", "B": "text"}}),
    ("environment: {A: 1.10, B: 017, C: 0x10, D: 1e3}", {"env": {"A": "1.10", "B": "017", "C": "0x10", "D": "1e3"}}),
    (
        "environment: {A: True, B: false, C: 'True', D: yes}",
        {"env": {"A": "true", "B": "false", "C": "True", "D": "yes"}},
    ),
    ("environment:\n  FROM_ENV:\n  NOT_THERE:\n  EMPTY:", {"env": {"FROM_ENV": "there", "EMPTY": ""}}),
    ("environment: [FROM_ENV, NOT_THERE, 'A=', B=c=d]", {"env": {"FROM_ENV": "there", "A": "", "B": "c=d"}}),
    ("environment: {A: ''}", {"env": {"A": ""}}),
    ("environment: {A: '$EMPTY', B: $EMPTY}", {"env": {"A": "", "B": ""}}),
    ("environment: {A: $NULL, B: $YES, C: '$$N', D: $$$N}", {"env": {"A": "null", "B": "true", "C": "$N", "D": "$4"}}),
    ("environment: ['A=${N}x']", {"env": {"A": "4x"}}),
    ("environment: {$N: a}", {"env": {"$N": "a"}}),  # keys are not filled in
    ("environment: {8080: a}", {"env": {"8080": "a"}}),
    ("environment:\n  A: |\n    one\n    two", {"env": {"A": "one\ntwo\n"}}),
    ("environment: {A: é☃}", {"env": {"A": "é☃"}}),
    ("environment:", {}),
    ("labels: {a.b/c: 1, d: , e: true}", {"labels": {"a.b/c": "1", "d": "", "e": "true"}}),
    ("labels: [a=1, b, c=d=e]", {"labels": {"a": "1", "b": "", "c": "d=e"}}),
    ("labels: {a: 1}\ndeploy: {labels: [a=1, b=2]}", {"labels": {"a": "1", "b": "2"}}),
    ("deploy: {labels: {b: 2}}", {"labels": {"b": "2"}}),
]

PORTS: list[tuple[str, list[Port]]] = [
    ('"8080:80"', [Port(container=80, host=8080)]),
    ("8080:80", [Port(container=80, host=8080)]),
    ("22:22", [Port(container=22, host=22)]),  # 1342 by YAML 1.1
    ('"80"', [Port(container=80)]),
    ("80", [Port(container=80)]),
    ("80/udp", [Port(container=80, protocol=Protocol.UDP)]),
    ("80/TCP", [Port(container=80)]),
    ('"127.0.0.1:8080:80/udp"', [Port(container=80, host=8080, ip="127.0.0.1", protocol=Protocol.UDP)]),
    ('"127.0.0.1::80"', [Port(container=80, ip="127.0.0.1")]),
    ('":80"', [Port(container=80)]),
    ('"::80"', [Port(container=80)]),
    ('"0:80"', [Port(container=80)]),
    ('"[::1]:8080:80"', [Port(container=80, host=8080, ip="::1")]),
    ('"[::1]::80"', [Port(container=80, ip="::1")]),
    ('"8000-8002:80-82"', [Port(container=80 + i, host=8000 + i) for i in range(3)]),
    ('"80-81"', [Port(container=80), Port(container=81)]),
    ('"127.0.0.1:5-6:5-6"', [Port(container=5, host=5, ip="127.0.0.1"), Port(container=6, host=6, ip="127.0.0.1")]),
    ("${N}:${N}", [Port(container=4, host=4)]),
    ("$N", [Port(container=4)]),
    ("{target: 80}", [Port(container=80)]),
    ("{target: '80', published: '8080'}", [Port(container=80, host=8080)]),
    ("{target: 80, published: 0}", [Port(container=80)]),
    ("{target: 80, published: ''}", [Port(container=80)]),
    (
        "{mode: ingress, target: 80, published: 8080, protocol: tcp}",
        [Port(container=80, ingress=Ingress.TCP, listen=8080)],
    ),
    (
        "{mode: ingress, target: 80, app_protocol: http, host_ip: 10.0.0.1}",
        [Port(container=80, ingress=Ingress.HTTP, listen=80, ip="10.0.0.1")],
    ),
    (
        "{mode: host, target: 80, protocol: udp, host_ip: 10.0.0.1, x-note: a}",
        [Port(container=80, protocol=Protocol.UDP, ip="10.0.0.1")],
    ),
]

MOUNTS: list[tuple[str, list[Mount]]] = [
    ("volumes: ['data:/x']", [volume("p_data", "/x")]),
    ("volumes: ['data:/x:ro']", [volume("p_data", "/x", read_only=True)]),
    ("volumes: ['data:/x:rw']", [volume("p_data", "/x")]),
    ("volumes: ['outside:/x']", [volume("theirs", "/x")]),
    ("volumes: ['/abs:/x:ro']", [bind("/abs", "/x", read_only=True)]),
    ("volumes: ['./rel/../other:/x']", [bind("FOLDER/other", "/x")]),
    ("volumes: ['.:/x']", [bind("FOLDER", "/x")]),
    ("volumes: ['../up:/x']", [bind("PARENT/up", "/x")]),
    ("volumes: ['~/mine:/x', '~:/y']", [bind("/home/me/mine", "/x"), bind("/home/me", "/y")]),
    ("volumes: [{type: volume, source: data, target: /x, volume: {}}]", [volume("p_data", "/x")]),
    ("volumes: [{type: bind, source: rel, target: /x, read_only: true}]", [bind("FOLDER/rel", "/x", read_only=True)]),
    ("volumes: [{type: bind, source: /a, target: /x, bind: {create_host_path: false}}]", [bind("/a", "/x")]),
    ("volumes: [{type: tmpfs, target: /x, tmpfs: {size: 64m}}]", [tmpfs("/x", size_bytes=64 * MIB)]),
    ("volumes: [{type: tmpfs, target: /x, tmpfs: {size: 4096}}]", [tmpfs("/x", size_bytes=4096)]),
    ("volumes: [{type: tmpfs, target: /x}]", [tmpfs("/x")]),
    ("tmpfs: /run", [tmpfs("/run")]),
    (
        "tmpfs: [/run, '/tmp:size=1m,rw', '/a:ro']",
        [tmpfs("/run"), tmpfs("/tmp", size_bytes=MIB), tmpfs("/a", read_only=True)],
    ),
    ("tmpfs: /b\nvolumes: ['/a:/a']", [bind("/a", "/a"), tmpfs("/b")]),
]

HEALTH: list[tuple[str, HealthCheck | None]] = [
    ("{test: curl -f localhost}", HealthCheck(test=("CMD-SHELL", "curl -f localhost"))),
    ("{test: [CMD, a, b]}", HealthCheck(test=("CMD", "a", "b"))),
    ("{test: [CMD-SHELL, a b]}", HealthCheck(test=("CMD-SHELL", "a b"))),
    ("{test: [NONE]}", HealthCheck(test=("NONE",))),
    ("{disable: true}", HealthCheck(test=("NONE",))),
    ("{test: a, disable: false}", HealthCheck(test=("CMD-SHELL", "a"))),
    (
        "{test: a, interval: 1s, timeout: 500ms, retries: '5', start_period: 1m}",
        HealthCheck(test=("CMD-SHELL", "a"), interval_s=1.0, timeout_s=0.5, retries=5, start_period_s=60.0),
    ),
    ("", None),
]

RESTARTS: list[tuple[str, RestartPolicy]] = [
    ("restart: no", RestartPolicy(condition=RestartOn.NONE)),
    ("restart: 'no'", RestartPolicy(condition=RestartOn.NONE)),
    ("restart: always", RestartPolicy(condition=RestartOn.ANY)),
    ("restart: unless-stopped", RestartPolicy(condition=RestartOn.ANY)),
    ("restart: on-failure", RestartPolicy(condition=RestartOn.ON_FAILURE)),
    ("restart: on-failure:3", RestartPolicy(condition=RestartOn.ON_FAILURE, attempts_max=3)),
    ("restart: on-failure:0", RestartPolicy(condition=RestartOn.ON_FAILURE)),
    (
        "deploy: {restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}}",
        RestartPolicy(condition=RestartOn.ON_FAILURE, delay_s=5.0, attempts_max=3, window_s=120.0),
    ),
    ("deploy: {restart_policy: {max_attempts: 0}}", RestartPolicy()),
    ("deploy: {restart_policy: {condition: none}}", RestartPolicy(condition=RestartOn.NONE)),
    (
        "restart: on-failure:3\ndeploy: {restart_policy: {delay: 5s}}",
        RestartPolicy(condition=RestartOn.ON_FAILURE, delay_s=5.0, attempts_max=3),
    ),
    ("restart: always\ndeploy: {restart_policy: {condition: any}}", RestartPolicy(condition=RestartOn.ANY)),
]

DEPLOY: list[tuple[str, dict[str, Any]]] = [
    ("deploy:", {}),
    ("deploy: {mode: replicated, replicas: 3}", {"replicas": 3}),
    ("deploy: {replicas: '3'}", {"replicas": 3}),
    ("deploy: {replicas: 010}", {"replicas": 10}),
    ("deploy: {replicas: 0}", {"replicas": 0}),
    ("deploy: {replicas: '${MISSING:-3}'}", {"replicas": 3}),
    ("deploy: {replicas: $N}", {"replicas": 4}),
    ("scale: 2", {"replicas": 2}),
    ("scale: 2\ndeploy: {replicas: 2}", {"replicas": 2}),
    ("deploy: {mode: global}", {"mode": Mode.GLOBAL}),
    ("deploy: {mode: replicated-job, replicas: 5}", {"mode": Mode.JOB, "replicas": 5}),
    (
        "deploy: {resources: {limits: {cpus: '0.5', memory: 64m, pids: 7}}}",
        {"limits": Limits(cpu=0.5, memory=64 * MIB, pids=7)},
    ),
    ("deploy: {resources: {limits: {cpus: .5, pids: -1}}}", {"limits": Limits(cpu=0.5, pids=0)}),
    (
        "deploy: {resources: {reservations: {cpus: 2, memory: 1.5gb}}}",
        {"resources": Resources(cpu=2.0, memory=1536 * MIB)},
    ),
    ("mem_limit: 128MiB\ncpus: 1.5\npids_limit: 9", {"limits": Limits(cpu=1.5, memory=128 * MIB, pids=9)}),
    ("mem_limit: 4096", {"limits": Limits(memory=4096)}),
    ("mem_limit: 1 KB", {"limits": Limits(memory=1024)}),
    ("mem_limit: 64m\ndeploy: {resources: {limits: {memory: 65536k}}}", {"limits": Limits(memory=64 * MIB)}),
    ("mem_reservation: 1g", {"resources": Resources(memory=1024 * MIB)}),
    (
        "platform: linux/amd64\ndeploy: {placement: {max_replicas_per_node: 2, preferences: [{spread: node.labels.z}]}}",
        {"placement": PlacementRules(platform="linux/amd64", per_node_max=2, spread=(Spread(over="node.labels.z"),))},
    ),
    (
        (
            "deploy: {resources: {reservations: {pids: 100, devices: [{capabilities: [gpu], count: 2}], "
            "generic_resources: [{discrete_resource_spec: {kind: LICENCES, value: 1}}]}}}"
        ),
        {"resources": Resources(pids=100, named={"gpu": 2, "licences": 1})},
    ),
    ("x-longshore: {shares: {gpu: 0.25}}", {"resources": Resources(shares={"gpu": 0.25})}),
    (
        (
            "x-longshore:\n  placement:\n    prefers: [{constraint: node.labels.disk == ssd, weight: 3}]\n"
            "    tolerations: [{key: a, value: b, effect: NoSchedule}, {operator: Exists}]\n"
            "    affinity: [{service: db, over: node.labels.z, weight: 2}]\n    anti_affinity: [{service: web}, {selector: [tier==a, '!old']}]\n"
            "    spread: [{over: node.hostname, skew_max: 1}]\n    policy: binpack"
        ),
        {
            "placement": PlacementRules(
                prefers=(Preference(constraint="node.labels.disk==ssd", weight=3),),
                tolerations=(
                    Toleration(key="a", value="b", effect=TaintEffect.NO_SCHEDULE),
                    Toleration(operator=TolerationOperator.EXISTS),
                ),
                affinity=(Affinity(service="db", over="node.labels.z", weight=2),),
                anti_affinity=(Affinity(service="web"), Affinity(selector=("tier==a", "!old"))),
                spread=(Spread(over="node.name", skew_max=1),),
                policy="binpack",
            )
        },
    ),
    (
        (
            "deploy: {placement: {constraints: ['node.labels.z in (a, b)', '!node.labels.b', node.labels.c>3, "
            "engine.labels.d, node.platform.arch!=arm64]}}"
        ),
        {
            "placement": PlacementRules(
                constraints=(
                    "node.labels.z in (a, b)",
                    "!node.labels.b",
                    "node.labels.c>3",
                    "engine.labels.d",
                    "node.platform.arch!=arm64",
                )
            )
        },
    ),
    (
        "deploy: {placement: {constraints: [node.hostname==a, node.name != b, node.labels.z==x y, node.labels.b!=c]}}",
        {
            "placement": PlacementRules(
                constraints=("node.name==a", "node.name!=b", "node.labels.z==x y", "node.labels.b!=c")
            )
        },
    ),
    (
        "logging: {driver: json-file, options: {max-size: 1m, max-file: '5'}}",
        {"log": LogRotation(size_bytes=MIB, files=5)},
    ),
    ("logging: {options: {max-file: 2}}", {"log": LogRotation(files=2)}),
    ("logging: {driver: json-file}", {}),
]


def expect(folder: Path, keys: str, expected: ServiceSpec) -> None:
    assert spec_of(folder, keys, ENV) == expected


@pytest.mark.parametrize(("keys", "fields"), TEXTS + ENVIRONMENT + DEPLOY)
def test_keys(tmp_path: Path, keys: str, fields: dict[str, Any]) -> None:
    expect(tmp_path, keys, ServiceSpec(image="i", **fields))


@pytest.mark.parametrize(("item", "ports"), PORTS)
def test_ports(tmp_path: Path, item: str, ports: list[Port]) -> None:
    expect(tmp_path, f"ports:\n  - {item}", ServiceSpec(image="i", ports=tuple(ports)))


@pytest.mark.parametrize(("keys", "mounts"), MOUNTS)
def test_mounts(tmp_path: Path, keys: str, mounts: list[Mount]) -> None:
    def placed(mount: Mount) -> Mount:
        source = mount.source.replace("FOLDER", str(tmp_path)).replace("PARENT", str(tmp_path.parent))
        return structs.replace(mount, source=source)

    expect(tmp_path, keys, ServiceSpec(image="i", mounts=tuple(placed(mount) for mount in mounts)))


@pytest.mark.parametrize(("text", "health"), HEALTH)
def test_healthcheck(tmp_path: Path, text: str, health: HealthCheck | None) -> None:
    expect(tmp_path, f"healthcheck: {text}", ServiceSpec(image="i", health=health))


@pytest.mark.parametrize(("keys", "restart"), RESTARTS)
def test_restart(tmp_path: Path, keys: str, restart: RestartPolicy) -> None:
    expect(tmp_path, keys, ServiceSpec(image="i", restart=restart))


def test_env_files_in_their_order_and_environment_over_them(tmp_path: Path) -> None:
    (tmp_path / "one.env").write_text("A=1\nB=1\nC=1\nD=1\nFROM_ENV\n")
    (tmp_path / "two.env").write_text("B=2\nC=2\n")
    keys = "env_file:\n- one.env\n- {path: two.env, required: true}\n- {path: no.env, required: false}\n"
    found = spec_of(tmp_path, keys + "environment: {C: 3, D: }", ENV).env
    assert found == {"A": "1", "B": "2", "C": "3", "FROM_ENV": "there"}
    assert spec_of(tmp_path, "env_file: ./one.env").env == {"A": "1", "B": "1", "C": "1", "D": "1"}
    assert spec_of(tmp_path, f"env_file: {tmp_path}/two.env").env == {"B": "2", "C": "2"}


def test_anchors_aliases_and_merge_keys(tmp_path: Path) -> None:
    text = """
x-env: &env {A: 1, B: 1}
x-more: &more {B: 2, C: 2}
x-web: &web
  image: i
  environment: &both
    <<: [*env, *more]
    C: 3
services:
  web: *web
  api:
    <<: *web
    environment:
      <<: *both
      D: 4
    command: &run [a, b]
  job: {<<: *web, command: *run, environment: {"<<": literal}}
"""
    services = app_of(tmp_path, text).services
    assert services["web"].env == {"A": "1", "B": "1", "C": "3"}
    assert services["api"].env == {"A": "1", "B": "1", "C": "3", "D": "4"}
    assert services["job"].command == services["api"].command == ("a", "b")
    assert services["job"].env == {"<<": "literal"}  # quoted, so it is a key like any other


def test_extensions_wherever_the_specification_allows_them(tmp_path: Path) -> None:
    text = """
version: 3.8
x-top: 1
services:
  x-this-is-a-service: {image: a}
  web:
    image: i
    x-a: 1
    healthcheck: {x-a: 1, test: a}
    logging: {x-a: 1}
    ports: [{target: 1, x-a: 1}]
    volumes: [{type: volume, source: v, target: /v, x-a: 1, volume: {x-a: 1}}]
    deploy:
      x-a: $NOT_READ
      resources: {x-a: 1, limits: {x-a: 1}, reservations: {x-a: 1}}
      placement: {x-a: 1}
      restart_policy: {x-a: 1}
volumes:
  v: {x-a: 1}
"""
    assert set(app_of(tmp_path, text).services) == {"x-this-is-a-service", "web"}


def test_what_starts_before_what(tmp_path: Path) -> None:
    text = """
services:
  db: {image: i}
  migrate:
    image: i
    depends_on: {db: {condition: service_healthy}}
    deploy: {mode: replicated-job}
  web:
    image: i
    depends_on:
      db:
      migrate: {condition: service_completed_successfully, required: false}
      cache: {required: false}
  worker: {image: i, depends_on: [web, db]}
"""
    services = app_of(tmp_path, text).services
    assert {name: one.depends for name, one in services.items()} == {
        "db": (),
        "migrate": (Dependency(service="db", condition=Condition.READY),),
        "web": (Dependency(service="db"), Dependency(service="migrate", condition=Condition.COMPLETED)),
        "worker": (Dependency(service="web"), Dependency(service="db")),
    }


def test_a_circle_is_named_where_it_closes(tmp_path: Path) -> None:
    text = """
services:
  a: {image: i, depends_on: [b]}  #! services.a.depends_on[0]: a waits for b waits for c waits for a; break the circle
  b:
    image: i
    depends_on: [c]
  c: {image: i, depends_on: {a: {condition: service_healthy}}}
  d: {image: i, depends_on: [a]}
"""
    assert_refused(tmp_path, text)


def test_volumes_and_their_names(tmp_path: Path) -> None:
    text = (
        service("")
        + """
volumes:
  plain:
  empty: {}
  named: {name: mine-$N}
  outside: {external: true}
  both: {external: true, name: theirs}
  local: {driver: local, external: false}
"""
    )
    assert app_of(tmp_path, text, ENV).volumes == {
        "plain": "p_plain",
        "empty": "p_empty",
        "named": "mine-4",
        "outside": "outside",
        "both": "theirs",
        "local": "p_local",
    }


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffservices: {web: {image: i}}",
        "services: {web: {image: i}}\r\n",
        "---\nservices: {web: {image: i}}\n...\n",
        "%YAML 1.2\n---\nservices: {web: {image: i}}",
        '{"services": {"web": {"image": "i"}}}',
        "services:\n  web:\n    image:\n      i",
        "? services\n: web: {image: !!str i}",
        "services: !!map {web: {image: i}}",
    ],
)
def test_odd_files(tmp_path: Path, text: str) -> None:
    assert app_of(tmp_path, text).services == {"web": ServiceSpec(image="i")}
