"""What people type and read: sizes, spans, ports, mounts, tables, plans, lines of progress."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.cli import plans
from longshore.cli.convergence import Convergence, Goal, Told, watch_of
from longshore.cli.logs import colour_of
from longshore.cli.parameters import (
    read_count,
    read_label,
    read_lifetime,
    read_mount,
    read_port,
    read_resource,
    read_taint,
    read_taint_change,
    read_uses,
    read_variable,
)
from longshore.cli.progress import display, line, remark, state_word
from longshore.cli.running import name_of
from longshore.cli.tables import BAD, Cell, aligned, show
from longshore.cli.tasks import current
from longshore.cli.units import age, cores, listed, parse_size, parse_span, plain, port_url, ports, size, span, urls
from longshore.client import Item
from longshore.model.lifecycle import State, Wanted
from longshore.model.objects import PublishedPort, Task
from longshore.model.placing import Taint, TaintEffect
from longshore.model.reasons import Reason
from longshore.model.spec import Mount, MountKind, Port, Protocol
from longshore.model.views import Effect, FieldChange, Plan, PlannedService, PlannedTask
from tests.tables.talking import task

MIB = 1024**2


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("64k", 64 * 1024),
        ("64KB", 64 * 1024),
        ("64m", 64 * MIB),
        ("64MiB", 64 * MIB),
        ("1.5g", 1536 * MIB),
        ("2 TiB", 2 * 1024**4),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "m", "-1m", "64x", "64mm", "1e3", "0x10"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("0.5", 0.5), ("500ms", 0.5), ("10m", 600), ("1h30m", 5400), ("2d", 172800)]
)
def test_spans(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "10 m", "1h30", "-5s", "10min", "ever"])
def test_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="not a span"):
        parse_span(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0s"), (0, "0s"), (12.9, "12s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (90000, "1d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert span(seconds) == text
    assert age(1000.0, 1000.0 + seconds) == text


def test_no_age() -> None:
    assert age(None, 5.0) == "-"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (64 * MIB, "64.0 MiB"),
        (1024 * MIB - 1, "1.0 GiB"),
        (5 * 1024**5, "5120.0 TiB"),
    ],
)
def test_memory(count: int, text: str) -> None:
    assert size(count) == text


@given(st.integers(0, 2**60))
def test_memory_is_read_back_to_what_was_shown(count: int) -> None:
    assert parse_size(size(count)) == pytest.approx(count, rel=0.06)


def test_cores() -> None:
    assert [cores(1.0), cores(0.5), cores(1.333), cores(0), cores(10)] == ["1", "0.5", "1.33", "0", "10"]


@given(st.text())
def test_foreign_words_cannot_move_the_cursor(text: str) -> None:
    assert plain(text).isprintable()


def test_foreign_words_keep_their_meaning() -> None:
    assert plain("no such\n\timage \x1b[31m: ü") == "no such image  [31m: ü"


def published(**fields: object) -> Task:
    return task("web.1.1", node="n1", ports=(PublishedPort(container=8080, host=30001, **fields),))  # type: ignore[arg-type]


def test_ports_and_where_they_answer() -> None:
    assert ports(published()) == "n1:30001->8080/tcp"
    assert urls(published(), {"n1": "10.0.0.1"}) == ["http://10.0.0.1:30001"]
    assert urls(published(), {"n1": ""}) == []
    assert urls(published(), {}) == []
    assert urls(published(protocol=Protocol.UDP), {"n1": "10.0.0.1"}) == []
    assert port_url(PublishedPort(container=80, host=8080, ip="127.0.0.1"), "10.0.0.1") == "http://127.0.0.1:8080"
    assert port_url(PublishedPort(container=80, host=8080), "fd00::1") == "http://[fd00::1]:8080"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("80", Port(container=80)),
        ("8080:80", Port(container=80, host=8080)),
        ("53:53/udp", Port(container=53, host=53, protocol=Protocol.UDP)),
        ("127.0.0.1:8080:80", Port(container=80, host=8080, ip="127.0.0.1")),
        ("[::1]:8080:80/tcp", Port(container=80, host=8080, ip="::1")),
    ],
)
def test_published_ports(text: str, meant: Port) -> None:
    assert read_port(text) == meant


@pytest.mark.parametrize("text", ["", "x", "80/sctp", "8080:", "0", "65536", "127.0.0.1::80", "1:2:x", "\uff18\uff10"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|tcp"):
        read_port(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("data:/d", Mount(kind=MountKind.VOLUME, source="data", target="/d")),
        ("/etc/a:/a:ro", Mount(kind=MountKind.BIND, source="/etc/a", target="/a", read_only=True)),
        ("type=tmpfs,target=/t,size=1m", Mount(kind=MountKind.TMPFS, target="/t", size_bytes=MIB)),
        ("type=bind,src=/a,dst=/b,readonly=True", Mount(kind=MountKind.BIND, source="/a", target="/b", read_only=True)),
        ("type=bind,src=/a,dst=/b,readonly", Mount(kind=MountKind.BIND, source="/a", target="/b", read_only=True)),
        ("source=v,target=/v", Mount(kind=MountKind.VOLUME, source="v", target="/v")),
    ],
)
def test_mounts(text: str, meant: Mount) -> None:
    assert read_mount(text) == meant


@pytest.mark.parametrize(
    "text", ["", "/only", "a:/b:rx", ":/b", "type=nfs,target=/a", "type=bind", "kind=bind,target=/a"]
)
def test_what_is_no_mount(text: str) -> None:
    with pytest.raises(ValueError, match=r"mount|none of|target"):
        read_mount(text)


def test_pairs() -> None:
    assert read_variable("A=b=c", {}) == ("A", "b=c")
    assert read_variable("A", {"A": "here"}) == ("A", "here")
    assert read_variable("A=", {"A": "here"}) == ("A", "")
    assert read_count("web=3") == ("web", 3)
    assert read_label("zone=a-") == ("zone", "a-")
    assert read_label("zone-") == ("zone", None)
    assert (read_uses("any"), read_uses("3")) == (None, 3)
    assert read_taint("a/b=c:NoExecute") == Taint(key="a/b", value="c", effect=TaintEffect.NO_EXECUTE)
    assert read_taint_change("a:NoSchedule") == Taint(key="a")
    assert (read_taint_change("a-"), read_taint_change("a:NoSchedule-")) == ("a", "a:NoSchedule")
    assert (read_resource("licences=3"), read_resource("licences-")) == (("licences", 3), ("licences", None))
    assert read_resource("gpu=2") == ("gpu", ("0", "1"))
    assert read_resource("gpu=GPU-a,GPU-b") == ("gpu", ("GPU-a", "GPU-b"))
    assert read_resource("tty=/dev/ttyUSB0") == ("tty", ("/dev/ttyUSB0",))
    assert (read_lifetime("ever"), read_lifetime("12h")) == (None, 43200.0)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_variable, "=x"),
        (read_variable, "LONGSHORE_NEVER_SET"),
        (read_count, "web"),
        (read_count, "web=-1"),
        (read_count, "=1"),
        (read_label, "zone"),
        (read_label, "-"),
        (read_label, "=a"),
        (read_taint, "a"),
        (read_taint, "a=b:Never"),
        (read_taint, "=b:NoSchedule"),
        (read_taint_change, "-"),
        (read_resource, "gpu"),
        (read_resource, "gpu="),
        (read_resource, "=1"),
        (read_uses, "0"),
        (read_uses, "many"),
    ],
)
def test_what_are_no_pairs(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"write|not|neither"):
        read(text)


def test_a_services_name_comes_from_its_image() -> None:
    assert name_of("nginx") == "nginx"
    assert name_of("registry:5000/team/Web_App:1.2@sha256:abc") == "web-app"


def test_columns_stand_under_each_other() -> None:
    assert aligned(("NAME", "N", "X"), [("a", "1", ""), ("longer", "22", "y")]) == [
        "NAME    N   X",
        "a       1   -",
        "longer  22  y",
    ]


def test_on_a_terminal_words_are_not_markup_and_names_are_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("longshore.cli.tables.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    name = "a-service-of-a-name-longer-than-the-window.1.1"
    show(("TASK", "EMPTY", "STATE", "REMARK"), [(name, "", Cell("failed", BAD), "[red]no such image[/red]\x1b[2J")])
    shown = capsys.readouterr().out
    assert name in shown
    assert "EMPTY" not in shown
    assert "[red]no such image[/red]" in shown
    assert "\x1b[2J" not in shown


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("longshore.cli.progress.on_terminal", lambda: True)
    convergence = Convergence(Goal(settle=("web",)), [], steady_s=0.0)
    with display(convergence, silent=False) as shown:
        told = convergence.take(watch_of("web"), Item(task("web.1.1", state=State.FAILED, node="n1", message="[bold]")))
        assert told is not None
        shown.tell(told)
    out = capsys.readouterr().out
    assert "✗" in out
    assert "web.1.1" in out
    assert "[bold]" in out


def test_words_for_tasks() -> None:
    assert state_word(task("a.1.1")) == "waiting"
    assert state_word(task("a.1.1", state=State.RUNNING, wanted=Wanted.STOPPED)) == "stopping"
    assert state_word(task("a.1.1", state=State.FAILED, wanted=Wanted.REMOVED)) == "failed"
    failed = task("a.1.1", state=State.FAILED, node="n1", reason=Reason.EXITED, message="exit code 3")
    assert remark(failed) == "exited: exit code 3"
    assert remark(task("a.1.1", state=State.RUNNING)) == "not ready yet"
    assert remark(task("a.1.1", state=State.RUNNING, ready=True, message="old news")) == ""
    assert line(Told(failed)) == "a.1.1                 failed     n1        exited: exit code 3"
    assert line(Told(failed, gone=True)) == "a.1.1                 removed"
    running = task("a.1.1", state=State.RUNNING, ready=True, node="n1", ports=published().ports)
    assert line(Told(running)) == "a.1.1                 ready      n1        n1:30001->8080/tcp"


def test_only_what_matters_now_is_listed() -> None:
    tasks = [
        task("a.1.1", state=State.FAILED),
        task("a.1.2", state=State.FAILED),
        task("a.2.1", state=State.FAILED),
        task("a.2.2", state=State.RUNNING),
        task("a.3.1", state=State.STOPPED, wanted=Wanted.STOPPED),
        task("a.4.1", state=State.FAILED, wanted=Wanted.REMOVED),
        task("a.5.1", state=State.RUNNING, wanted=Wanted.STOPPED),
        task("a.5.2"),
        task("a.6.1", state=State.FINISHED),
    ]
    assert sorted(one.id for one in current(tasks)) == ["a.1.2", "a.2.2", "a.5.1", "a.5.2"]


def test_a_slot_has_the_same_colour_in_every_run() -> None:
    assert colour_of("web.1") == colour_of("web.1")
    assert len({colour_of(f"web.{slot}") for slot in range(50)}) > 3


def test_long_lists_are_cut() -> None:
    assert listed("abc") == "a, b, c"
    assert listed("abcd", most=2) == "a, b and 2 more"


def test_a_plan_reads_like_a_diff() -> None:
    plan = Plan(
        app="shop",
        revision=4,
        services=(
            PlannedService(
                name="web",
                effect=Effect.CREATE,
                changes=(FieldChange(field="spec.image", before="", after="web:1"),),
                start=(
                    PlannedTask(id="web.1.1", node="n1"),
                    PlannedTask(id="web.2.1", node="", message="0 of 3 nodes: not enough memory"),
                ),
            ),
            PlannedService(
                name="api",
                effect=Effect.UPDATE,
                changes=(FieldChange(field="spec.env.A", before="", after="b\n"),),
                replace=("api.1.1", "api.2.1"),
            ),
            PlannedService(name="old", effect=Effect.REMOVE, stop=("old.1.1",)),
            PlannedService(name="db", effect=Effect.KEEP),
        ),
    )
    assert [f"{mark} {text}" for mark, text in plans.lines(plan)] == [
        "+ web  create  start 2 tasks: web.1.1 on n1",
        "!     web.2.1 has no node yet: 0 of 3 nodes: not enough memory",
        "~ api  update  replace 2 tasks one after the other: api.1.1, api.2.1",
        "      spec.env.A: (none) -> b",
        "- old  remove  stop 1 task: old.1.1",
        "= db   keep",
    ]
    assert not plans.changes_nothing(plan)
    assert plans.changes_nothing(Plan(app="shop", revision=4, services=plan.services[3:]))
