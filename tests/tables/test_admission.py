"""What may be wished: each rule refused once with its field, each spelling that is let in, and both for any spec."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from longshore.decide import admission, grammar
from longshore.decide.admission import admit
from longshore.model.errors import Invalid
from longshore.model.placing import Affinity, Preference, Spread, Toleration, TolerationOperator
from longshore.model.spec import (
    ExecProbe,
    HealthCheck,
    HttpProbe,
    Limits,
    LogRotation,
    Mode,
    Mount,
    MountKind,
    PlacementRules,
    Port,
    Probe,
    Protocol,
    Resources,
    RestartOn,
    RestartPolicy,
    ServiceSpec,
    TcpProbe,
    UpdateRules,
)

MIB = 1024 * 1024
NAN, INF = float("nan"), float("inf")
SHA = "a" * 64


def spec(**fields: Any) -> ServiceSpec:
    return ServiceSpec(**{"image": "web", **fields})


def bind(source: str) -> ServiceSpec:
    return spec(mounts=(Mount(kind=MountKind.BIND, source=source, target="/x"),))


def volume(source: str, **more: Any) -> ServiceSpec:
    return spec(mounts=(Mount(kind=MountKind.VOLUME, source=source, target="/x", **more),))


def mounted(*targets: str, **more: Any) -> ServiceSpec:
    return spec(mounts=tuple(Mount(kind=MountKind.TMPFS, target=target, **more) for target in targets))


def ports(*given: Port) -> ServiceSpec:
    return spec(ports=given)


def only_on(*constraints: str) -> ServiceSpec:
    return spec(placement=PlacementRules(constraints=constraints))


def ruled(**rules: Any) -> ServiceSpec:
    return spec(placement=PlacementRules(**rules))


def restarted(condition: RestartOn) -> dict[str, Any]:
    return {"restart": RestartPolicy(condition=condition)}


def health(*test: str, **more: Any) -> ServiceSpec:
    return spec(health=HealthCheck(test=test, **more))


def alive(**more: Any) -> ServiceSpec:
    return spec(liveness=Probe(**({"tcp": TcpProbe(port=80)} | more)))


def asked(**http: Any) -> ServiceSpec:
    return spec(readiness=Probe(http=HttpProbe(**({"port": 80} | http))))


REFUSED: list[tuple[str, ServiceSpec, str, str]] = [
    # what, spec, field, a part of the sentence
    ("no image", spec(image=""), "image", "no image reference"),
    ("image in capitals", spec(image="Web"), "image", "lower case"),
    ("image with a space", spec(image="web app"), "image", "no image reference"),
    ("image with a line end", spec(image="web\n"), "image", "control character"),
    ("image with an empty tag", spec(image="web:"), "image", "no image reference"),
    ("tag too long", spec(image="web:" + "a" * 129), "image", "no image reference"),
    ("digest too short", spec(image="web@sha256:abc"), "image", "no image reference"),
    ("digest unknown", spec(image=f"web@md5:{SHA}"), "image", "no image reference"),
    ("image that is a URL", spec(image="https://registry/web"), "image", "no image reference"),
    ("image name too long", spec(image="/".join(["a" * 100] * 3)), "image", "255"),
    ("image endless", spec(image="a" * 10_000), "image", "no image reference"),
    ("replicas below zero", spec(replicas=-1), "replicas", "0 to 100000"),
    ("replicas above all", spec(replicas=100_001), "replicas", "0 to 100000"),
    ("replicas endless", spec(replicas=10**4000), "replicas", "0 to 100000"),
    ("grace below zero", spec(stop_grace_s=-1.0), "stop_grace_s", "number"),
    ("grace that is no number", spec(stop_grace_s=NAN), "stop_grace_s", "number"),
    ("grace for ever", spec(stop_grace_s=INF), "stop_grace_s", "number"),
    ("cpu that is no number", spec(resources=Resources(cpu=NAN)), "resources.cpu", "number"),
    ("cpu infinite", spec(limits=Limits(cpu=INF)), "limits.cpu", "number"),
    ("cpu too many", spec(resources=Resources(cpu=100_001)), "resources.cpu", "100000"),
    ("cpu limit too small", spec(limits=Limits(cpu=0.001)), "limits.cpu", "0.01"),
    ("cpu limit below what is reserved", spec(limits=Limits(cpu=1), resources=Resources(cpu=2)), "limits.cpu", "less"),
    ("memory below zero", spec(resources=Resources(memory=-1)), "resources.memory", "number"),
    ("memory limit too small", spec(limits=Limits(memory=6 * MIB - 1)), "limits.memory", "6 MiB"),
    (
        "memory limit below what is reserved",
        spec(limits=Limits(memory=8 * MIB), resources=Resources(memory=9 * MIB)),
        "limits.memory",
        "set aside in resources.memory",
    ),
    ("pids below zero", spec(limits=Limits(pids=-1)), "limits.pids", "number"),
    ("no log file", spec(log=LogRotation(files=0)), "log.files", "number"),
    ("log without size", spec(log=LogRotation(size_bytes=0)), "log.size_bytes", "number"),
    ("port 0", ports(Port(container=0)), "ports[0].container", "1 to 65535"),
    ("host port beyond all", ports(Port(container=1), Port(container=1, host=65_536)), "ports[1].host", "65535"),
    ("host port twice", ports(Port(container=1, host=80), Port(container=2, host=80)), "ports[1].host", "80/tcp"),
    (
        "host port twice on two addresses",
        ports(Port(container=1, host=80, ip="127.0.0.1"), Port(container=1, host=80, ip="10.0.0.1")),
        "ports[1].host",
        "twice",
    ),
    ("address that is a name", ports(Port(container=1, ip="localhost")), "ports[0].ip", "no IP address"),
    ("address with a zone", ports(Port(container=1, ip="fe80::1%eth0")), "ports[0].ip", "zone"),
    ("ports without end", ports(*(Port(container=n + 1) for n in range(129))), "ports", "128"),
    ("env without a key", spec(env={"": "x"}), "env", "variable"),
    ("env key with =", spec(env={"A=B": "x"}), "env", "'A=B'"),
    ("env key with a line end", spec(env={"A\nB": "x"}), "env", "variable"),
    ("env value with NUL", spec(env={"A": "x\0y"}), "env[A]", "control character"),
    ("env value endless", spec(env={"A": "x" * 70_000}), "env[A]", "64 KiB"),
    ("env without end", spec(env={f"A{n}": "" for n in range(1001)}), "env", "1000"),
    ("all of it too large", spec(env={f"A{n}": "x" * 60_000 for n in range(6)}), "", "256 KiB"),
    ("not Unicode", spec(user="\ud800"), "user", "Unicode"),
    ("command with an escape", spec(command=("a", "\x1b[31m")), "command[1]", "control character"),
    ("user with a line end", spec(user="a\nb"), "user", "control character"),
    ("user of three parts", spec(user="a:b:c"), "user", "group"),
    ("working directory not absolute", spec(working_dir="app"), "working_dir", "absolute"),
    ("working directory that climbs", spec(working_dir="/app/../.."), "working_dir", "'..'"),
    ("hostname with _", spec(hostname="a_b"), "hostname", "no hostname"),
    ("hostname too long", spec(hostname="a" * 65), "hostname", "64"),
    ("hostname part too long", spec(hostname="a" * 64), "hostname", "63"),
    ("our labels", spec(labels={"longshore.task": "x"}), "labels", "Longshore's own"),
    ("label without a key", spec(labels={"": "x"}), "labels", "key"),
    ("signal unknown", spec(stop_signal="SIGFOO"), "stop_signal", "no signal"),
    ("signal 0", spec(stop_signal="0"), "stop_signal", "no signal"),
    ("signal 65", spec(stop_signal="65"), "stop_signal", "no signal"),
    ("mount target not absolute", mounted("data"), "mounts[0].target", "absolute"),
    ("mount target that climbs", mounted("/a/../b"), "mounts[0].target", "'..'"),
    ("mount over all", mounted("//"), "mounts[0].target", "root"),
    ("mounted twice", mounted("/a", "/a/"), "mounts[1].target", "twice"),
    ("tmpfs with a source", mounted("/x", source="x"), "mounts[0].source", "nowhere"),
    ("volume with a size", volume("db", size_bytes=1), "mounts[0].size_bytes", "tmpfs"),
    ("volume name of one letter", volume("a"), "mounts[0].source", "2 to 255"),
    ("volume that is a path", volume("/etc"), "mounts[0].source", "volume's name"),
    ("volume that climbs", volume("../x"), "mounts[0].source", "volume's name"),
    ("bind of a relative path", bind("etc"), "mounts[0].source", "absolute"),
    ("bind without a source", bind(""), "mounts[0].source", "absolute"),
    ("bind that climbs", bind("/srv/../etc"), "mounts[0].source", "'..'"),
    *(
        (f"bind of {path}", bind(path), "mounts[0].source", "as good as root")
        for path in (
            "/", "//", "/.", "/proc", "/proc/1/root", "/sys/", "/sys/fs/cgroup", "/dev", "/dev/sda", "/run",
            "/var/run/", "/var/run/docker.sock", "/run/./docker.sock", "//run//docker.sock",
            "/run/longshore-1/docker.sock", "/home/me/docker.sock", "/run/podman/podman.sock",
            "/run/containerd/containerd.sock",
        )
    ),
    ("capability unknown", spec(cap_add=("FLY",)), "cap_add[0]", "no Linux capability"),
    ("capability both ways", spec(cap_add=("KILL",), cap_drop=("cap_kill",)), "cap_drop[0]", "both"),
    ("test without a form", health("curl", "localhost"), "health.test", "CMD-SHELL"),
    ("no test", health(), "health.test", "CMD-SHELL"),
    ("test without a program", health("CMD"), "health.test", "CMD-SHELL"),
    ("shell test of two", health("CMD-SHELL", "a", "b"), "health.test", "CMD-SHELL"),
    ("NONE with more", health("NONE", "a"), "health.test", "CMD-SHELL"),
    ("interval too short", health("CMD", "a", interval_s=0.0001), "health.interval_s", "0.001"),
    ("no timeout", health("CMD", "a", timeout_s=0.0), "health.timeout_s", "0.001"),
    ("no retries", health("CMD", "a", retries=0), "health.retries", "number"),
    ("probe that asks nothing", alive(tcp=None), "liveness", "exactly one way"),
    ("probe that asks twice", alive(http=HttpProbe(port=80)), "liveness", "exactly one way"),
    ("liveness that comes back", alive(successes=2), "liveness.successes", "not asked again"),
    ("probe that asks in all ways", alive(exec=ExecProbe(command=("a",))), "liveness", "exactly one way"),
    ("probe of no program", alive(tcp=None, exec=ExecProbe(command=())), "liveness.exec.command", "name the program"),
    ("nameless program", alive(tcp=None, exec=ExecProbe(command=("", "a"))), "liveness.exec.command", "name the program"),
    ("endless command", alive(tcp=None, exec=ExecProbe(command=("a",) * 129)), "liveness.exec.command", "leave some out"),
    ("command in lines", alive(tcp=None, exec=ExecProbe(command=("a\n",))), "liveness.exec.command[0]", "control"),
    ("probe without pause", alive(interval_s=0.0), "liveness.interval_s", "0.1"),
    ("probe without patience", alive(timeout_s=NAN), "liveness.timeout_s", "0.01"),
    ("probe without retries", alive(retries=0), "liveness.retries", "number"),
    ("start for ever", alive(start_period_s=INF), "liveness.start_period_s", "number"),
    ("no successes", spec(readiness=Probe(tcp=TcpProbe(port=1), successes=0)), "readiness.successes", "number"),
    ("probe of no port", alive(tcp=TcpProbe(port=0)), "liveness.tcp.port", "1 to 65535"),
    ("GET of no port", asked(port=65_536), "readiness.http.port", "1 to 65535"),
    ("path without a root", asked(path="health"), "readiness.http.path", "begins with '/'"),
    ("path of another host", asked(path="@host/"), "readiness.http.path", "begins with '/'"),
    ("path with a space", asked(path="/a b"), "readiness.http.path", "%XX"),
    ("path with a fragment", asked(path="/a#b"), "readiness.http.path", "%XX"),
    ("path with a line end", asked(path="/a\r\nX: y"), "readiness.http.path", "control character"),
    ("header without a name", asked(headers={"": "x"}), "readiness.http.headers", "header's name"),
    ("header with a colon", asked(headers={"a:b": "x"}), "readiness.http.headers", "header's name"),
    ("header that ends the line", asked(headers={"a": "x\r\nb: c"}), "readiness.http.headers[a]", "control character"),
    ("header beyond ASCII", asked(headers={"a": "ä"}), "readiness.http.headers[a]", "printable"),
    ("header of the connection", asked(headers={"Content-Length": "5"}), "readiness.http.headers", "connection's own"),
    ("status that is no end", asked(accepts=(200, 101)), "readiness.http.accepts[1]", "200 to 599"),
    ("delay below zero", spec(restart=RestartPolicy(delay_s=-0.1)), "restart.delay_s", "number"),
    ("attempts below zero", spec(restart=RestartPolicy(attempts_max=-1)), "restart.attempts_max", "number"),
    ("window that is no number", spec(restart=RestartPolicy(window_s=NAN)), "restart.window_s", "number"),
    ("constraint unknown", only_on("node.role==manager"), "placement.constraints[0]", "node.role"),
    ("preferred constraint", ruled(prefers=(Preference(constraint="x"),)), "placement.prefers[0].constraint", "not of the form"),
    ("weight of nothing", ruled(prefers=(Preference(constraint="node.labels.a", weight=0),)), "placement.prefers[0].weight", "1 to 100"),
    ("platform without processor", ruled(platform="linux"), "placement.platform", "no platform"),
    ("platform with variant", ruled(platform="linux/arm/v7"), "placement.platform", "no variant"),
    ("none a node", ruled(per_node_max=0), "placement.per_node_max", "1 to"),
    ("toleration of nothing", ruled(tolerations=(Toleration(),)), "placement.tolerations[0].key", "Exists"),
    ("toleration of a value that only exists", ruled(tolerations=(Toleration(key="a", operator=TolerationOperator.EXISTS, value="b"),)), "placement.tolerations[0].value", "Exists asks for no value"),
    ("toleration of a key that is none", ruled(tolerations=(Toleration(key="a b"),)), "placement.tolerations[0].key", "taint's key"),
    ("affinity to a name that is none", ruled(affinity=(Affinity(service="A"),)), "placement.affinity[0].service", "service's name"),
    ("affinity to nobody", ruled(affinity=(Affinity(),)), "placement.affinity[0]", "say whom it means"),
    ("affinity to two", ruled(affinity=(Affinity(service="a", selector=("b",)),)), "placement.affinity[0]", "not both"),
    ("affinity to no words", ruled(affinity=(Affinity(selector=("a==",)),)), "placement.affinity[0].selector[0]", "KEY==VALUE"),
    ("affinity over a word", ruled(anti_affinity=(Affinity(service="a", over="zone"),)), "placement.anti_affinity[0].over", "no domains"),
    ("affinity too heavy", ruled(affinity=(Affinity(service="a", weight=101),)), "placement.affinity[0].weight", "1 to 100"),
    ("spread over a word", ruled(spread=(Spread(over="zone"),)), "placement.spread[0].over", "no domains"),
    ("spread without skew", ruled(spread=(Spread(over="node.name", skew_max=0),)), "placement.spread[0].skew_max", "1 to"),
    ("policy unknown", ruled(policy="fastest"), "placement.policy", "no placement policy"),
    ("policy of unknown parts", ruled(policy="speed=1"), "placement.policy", "no weight of a policy"),
    ("resource by a bad name", spec(resources=Resources(named={"GPU": 1})), "resources.named", "resource's name"),
    ("resource with a field of its own", spec(resources=Resources(named={"cpu": 1})), "resources.named[cpu]", "field of its own"),
    ("a whole device as a share", spec(resources=Resources(shares={"gpu": 1.0})), "resources.shares[gpu]", "0.001 to 0.999"),
    ("a share of what has a field", spec(resources=Resources(shares={"cpu": 0.5})), "resources.shares[cpu]", "field of its own"),
    ("a share and a whole", spec(resources=Resources(named={"gpu": 1}, shares={"gpu": 0.5})), "resources.shares[gpu]", "whole, too"),
    ("none of a resource", spec(resources=Resources(named={"gpu": 0})), "resources.named[gpu]", "1 to"),
    ("pids below zero", spec(resources=Resources(pids=-1)), "resources.pids", "0 to"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "field", "words"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_refused(asked: ServiceSpec, field: str, words: str) -> None:
    with pytest.raises(Invalid) as refusal:
        admit(asked)
    assert refusal.value.field == (f"spec.{field}" if field else "spec")
    assert words in refusal.value.message


ADMITTED: list[tuple[str, ServiceSpec, dict[str, Any]]] = [
    # what, spec, what becomes of it
    ("nothing but an image", spec(), {}),
    *(
        (f"image {image}", spec(image=image), {"image": image})
        for image in (
            "a/b/c:1", "ghcr.io/a/b:v1.2_3-x", "localhost:5000/a", "Host/a", "[::1]:5000/a", f"a@sha256:{SHA}",
            f"a:1@sha256:{SHA}", "a__b/c-d.e", f"sha256:{SHA}",
        )
    ),
    ("no replicas", spec(replicas=0), {"replicas": 0}),
    ("global: replicas are ignored", spec(mode=Mode.GLOBAL, replicas=-7), {"replicas": 1}),
    ("job: restarts on failure", spec(mode=Mode.JOB), restarted(RestartOn.ON_FAILURE)),
    ("service: restarts always", spec(), restarted(RestartOn.ANY)),
    ("restart as written", spec(**restarted(RestartOn.NONE)), restarted(RestartOn.NONE)),
    ("a job with ports", spec(mode=Mode.JOB, ports=(Port(container=80),)), {}),
    ("limit as large as reserved", spec(limits=Limits(cpu=1), resources=Resources(cpu=1)), {}),
    ("reserved without a limit", spec(resources=Resources(cpu=4, memory=MIB)), {}),
    ("no limit of pids", spec(limits=Limits(pids=0)), {}),
    (
        "a host port twice by protocol",
        ports(Port(container=1, host=53), Port(container=1, host=53, protocol=Protocol.UDP)),
        {},
    ),
    ("a container port twice", ports(Port(container=80), Port(container=80)), {}),
    ("address shortened", ports(Port(container=1, ip="0:0::1")), {"ports": (Port(container=1, ip="::1"),)}),
    ("script with lines", spec(command=("sh", "-c", "a\n\tb\r\n")), {}),
    ("key in a variable", spec(env={"KEY": "-----BEGIN\nabc\n"}), {}),
    ("paths tidied", spec(working_dir="//app//x/"), {"working_dir": "/app/x"}),
    ("user and group", spec(user="1000:1000"), {}),
    ("hostname with dots", spec(hostname="a-1.Example.org"), {}),
    ("signal by name", spec(stop_signal="term"), {"stop_signal": "SIGTERM"}),
    ("signal of its own", spec(stop_signal="SIGRTMIN+3"), {"stop_signal": "SIGRTMIN+3"}),
    ("signal by number", spec(stop_signal="015"), {"stop_signal": "15"}),
    (
        "capabilities as one spelling",
        spec(cap_add=("cap_net_admin", "NET_ADMIN", "sys_time")),
        {"cap_add": ("NET_ADMIN", "SYS_TIME")},
    ),
    ("drop all but one", spec(cap_drop=("all",), cap_add=("CHOWN",)), {"cap_drop": ("ALL",)}),
    ("tmpfs with a size", mounted("/x", size_bytes=1), {}),
    ("anonymous volume", volume(""), {}),
    ("bind of a directory", bind("/srv/data/"), {"mounts": bind("/srv/data").mounts}),
    ("bind beside what is refused", bind("/run/app"), {}),
    ("bind of what only sounds like it", bind("/devices"), {}),
    ("health check switched off", health("NONE"), {}),
    ("health check in a shell", health("CMD-SHELL", "true"), {}),
    ("probe of a port that is not published", alive(), {}),
    ("probe that runs a program", spec(liveness=Probe(exec=ExecProbe(command=("test", "-f", "")))), {}),
    ("probe with all it takes", asked(path="/a-b/%20?x=[1]&y", headers={"Host": "web.example:80", "X-A": ""}), {}),
    ("status codes in order", asked(accepts=(503, 200, 200)), {"readiness": asked(accepts=(200, 503)).readiness}),
    (
        "constraints as one spelling",
        only_on("node.labels.a == b", "node.labels.a==b"),
        {"placement": PlacementRules(constraints=("node.labels.a==b",))},
    ),
    ("a platform as images name it", ruled(platform="linux/x86_64"), {"placement": PlacementRules(platform="linux/amd64")}),
    ("a policy as one spelling", ruled(policy=" spread = 2.0, image=1"), {"placement": PlacementRules(policy="spread=2,image=1")}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "becomes"), [pytest.param(*row[1:], id=row[0]) for row in ADMITTED])
def test_admitted(asked: ServiceSpec, becomes: dict[str, Any]) -> None:
    admitted = admit(asked)
    assert admitted == replace(asked, **{"restart": admitted.restart, **becomes})
    assert admit(admitted) == admitted


def test_the_field_is_named_from_where_the_asker_stands() -> None:
    with pytest.raises(Invalid) as refusal:
        admit(spec(replicas=-1), field="services.web")
    assert refusal.value.field == "services.web.replicas"


NAMES = [
    pytest.param(
        admission.admit_name,
        ["web", "w", "a-1", "a" * 40, "1"],
        ["", "Web", "a.b", "a_b", "-a", "a-", "a" * 41, "a\n", "ä"],
        id="service",
    ),
    pytest.param(
        admission.admit_app_name,
        ["shop", "my_app", "1-", "a" * 63],
        ["", "Shop", "_a", "-a", "a.b", "a" * 64],
        id="app",
    ),
    pytest.param(
        admission.admit_node_name,
        ["n1", "N.a_b-c", "a" * 63],
        ["", ".a", "a-", "a b", "a/b", "a" * 64, "n1\n"],
        id="node",
    ),
]


@pytest.mark.parametrize(("rule", "good", "bad"), NAMES)
def test_names(rule: Any, good: list[str], bad: list[str]) -> None:
    for name in good:
        assert rule(name, field="name") == name
    for name in bad:
        with pytest.raises(Invalid) as refusal:
            rule(name, field="name")
        assert refusal.value.field == "name"


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        pytest.param({"zone": "eu-1", "org.example/disk": "", "a": "x:y@z"}, None, id="good"),
        pytest.param({"": "x"}, "labels", id="empty key"),
        pytest.param({"a b": "x"}, "labels", id="key with a space"),
        pytest.param({"a": "x y"}, "labels[a]", id="value with a space"),
        pytest.param({"a": "x" * 64}, "labels[a]", id="value too long"),
        pytest.param({f"a{n}": "" for n in range(129)}, "labels", id="too many"),
    ],
)
def test_node_labels(labels: dict[str, str], field: str | None) -> None:
    if field is None:
        assert admission.admit_node_labels(labels, field="labels") == labels
    else:
        with pytest.raises(Invalid) as refusal:
            admission.admit_node_labels(labels, field="labels")
        assert refusal.value.field == field


def test_every_number_that_stands_alone_has_bounds() -> None:
    """A field that is added to the spec must not slip past."""
    probes = {"liveness": Probe(), "readiness": Probe()}
    health, restart = HealthCheck(test=("NONE",)), RestartPolicy(attempts_max=1)
    whole = spec(health=health, restart=restart, update=UpdateRules(drain_s=1.0), **probes)
    numbers = set()
    for name, value in msgspec.to_builtins(whole).items():
        below = value.items() if isinstance(value, dict) else [("", value)]
        numbers |= {
            f"{name}.{key}".rstrip(".")
            for key, one in below
            if isinstance(one, int | float) and not isinstance(one, bool)
        }
    assert numbers == set(grammar.BOUNDS)


WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["web", "/a", "/", "//a/..", "/proc/x", "NET_ADMIN", "cap_kill", "ALL", "SIGTERM", "9", "::1", "::",
         "CMD", "NONE", "node.name==a", "node.labels.a != b ", "any", "a b", "\0", "\n", "1000:1000"]
    ),
)  # fmt: skip
FLOATS = st.one_of(st.floats(), st.floats(min_value=0, max_value=100))
INTS = st.one_of(st.integers(), st.integers(min_value=0, max_value=70_000))
LINES = st.lists(WORDS, max_size=3).map(tuple)
TABLES = st.dictionaries(WORDS, WORDS, max_size=3)
SPECS = st.builds(
    ServiceSpec,
    image=st.one_of(st.sampled_from(["web", "a/b:1", f"x@sha256:{SHA}"]), WORDS),
    mode=st.sampled_from(Mode),
    replicas=INTS,
    command=st.none() | LINES,
    env=TABLES,
    user=WORDS,
    working_dir=WORDS,
    hostname=WORDS,
    labels=TABLES,
    stop_signal=WORDS,
    stop_grace_s=FLOATS,
    resources=st.builds(Resources, cpu=FLOATS, memory=INTS),
    limits=st.builds(Limits, cpu=FLOATS, memory=INTS, pids=INTS),
    ports=st.lists(st.builds(Port, container=INTS, host=st.none() | INTS, ip=WORDS), max_size=3).map(tuple),
    mounts=st.lists(
        st.builds(Mount, kind=st.sampled_from(MountKind), source=WORDS, target=WORDS, size_bytes=INTS), max_size=3
    ).map(tuple),
    cap_add=LINES,
    cap_drop=LINES,
    log=st.builds(LogRotation, size_bytes=INTS, files=INTS),
    health=st.none() | st.builds(HealthCheck, test=LINES, interval_s=FLOATS, timeout_s=FLOATS, retries=INTS),
    restart=st.builds(
        RestartPolicy,
        condition=st.none() | st.sampled_from(RestartOn),
        delay_s=FLOATS,
        window_s=FLOATS,
        attempts_max=st.none() | INTS,
    ),
    placement=st.builds(PlacementRules, constraints=LINES),
)


@st.composite
def half_good(draw: st.DrawFn) -> ServiceSpec:
    """A good spec with a few fields of any kind, so that most rules are reached."""
    wild = draw(SPECS)
    names = draw(st.sets(st.sampled_from(ServiceSpec.__struct_fields__), max_size=4))
    return replace(ServiceSpec(image="web"), **{name: getattr(wild, name) for name in names})


@settings(max_examples=400, deadline=None)
@given(st.one_of(SPECS, half_good()))
def test_any_spec_is_admitted_for_good_or_invalid(asked: ServiceSpec) -> None:
    refusal = None
    try:
        admitted = admit(asked)
    except Invalid as fault:
        refusal = fault
    if refusal is None:
        assert admit(admitted) == admitted
        assert msgspec.json.decode(msgspec.json.encode(admitted), type=ServiceSpec) == admitted
    else:
        assert refusal.field is not None
        assert refusal.field.startswith("spec")
        assert msgspec.json.encode((refusal.field, refusal.message))
