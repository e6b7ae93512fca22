"""The client: which cluster, what a failure means, what is asked twice, and streams that outlive their connection."""

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.cli.logs import Wish, _unbroken
from longshore.client import DEFAULT_URL, Broken, Client, Gone, Item, Ready, Target, chosen_data_dir, default_data_dir
from longshore.client.connection import FAILURE_OF, failure_of
from longshore.client.streams import Patience, ServerEvent, parse, resumed, watched
from longshore.client.target import checked_url, is_loopback
from longshore.model.errors import (
    Compacted,
    Conflict,
    Denied,
    Failure,
    Invalid,
    NotFound,
    Refused,
    Unavailable,
)
from longshore.model.objects import Availability, Task
from longshore.model.spec import ServiceSpec
from longshore.model.views import EventView, NodePatch
from tests.tables.talking import HANG_UP, answer, refusal, stream, talking, task

CLUSTER = {"id": "c1", "version": "1", "revision": 7, "scheduler": "spread", "started_at": 1.0}
REMOTE = "http://10.0.0.5:7440"


# -- which cluster


def folder(path: Path, *, url: str | None = None, token: str | None = None) -> Path:
    """A manager's data folder."""
    path.mkdir(parents=True, exist_ok=True)
    if url is not None:
        (path / "manager.json").write_text(f'{{"url": "{url}", "pid": 1}}\n')
    if token is not None:
        (path / "admin.token").write_text(f"{token}\n")
    return path


@pytest.fixture(autouse=True)
def _no_own_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever this machine runs is not the tests' business."""
    monkeypatch.setattr("longshore.client.target.default_data_dir", lambda: tmp_path / "default")


def test_flags_go_before_the_environment_and_that_before_the_default_folder(tmp_path: Path) -> None:
    flagged = folder(tmp_path / "flagged", url="http://127.0.0.1:1", token="flagged")
    named = folder(tmp_path / "named", url="http://127.0.0.1:2", token="named")
    folder(tmp_path / "default", url="http://127.0.0.1:3", token="default")
    (tmp_path / "own.token").write_text("own")
    env = {"LONGSHORE_URL": "http://127.0.0.1:4", "LONGSHORE_TOKEN": "env", "LONGSHORE_DATA": str(named)}

    assert Target.find(env={}) == Target("http://127.0.0.1:3", "default")
    assert Target.find(env={"LONGSHORE_DATA": str(named)}) == Target("http://127.0.0.1:2", "named")
    assert Target.find(env=env) == Target("http://127.0.0.1:4", "env")
    assert Target.find(data_dir=flagged, env=env) == Target("http://127.0.0.1:1", "flagged")
    assert Target.find(url="http://127.0.0.1:5", data_dir=flagged, env=env) == Target("http://127.0.0.1:5", "flagged")
    assert Target.find(token_file=tmp_path / "own.token", env=env) == Target("http://127.0.0.1:4", "own")
    token_file = {"LONGSHORE_TOKEN_FILE": str(tmp_path / "own.token")}
    assert Target.find(env=token_file) == Target("http://127.0.0.1:3", "own")


def test_without_anything_it_is_this_machine_and_no_token() -> None:
    assert Target.find(env={}) == Target(DEFAULT_URL, None)


def test_a_named_folder_hides_the_default_one(tmp_path: Path) -> None:
    folder(tmp_path / "default", url="http://127.0.0.1:3", token="default")
    assert Target.find(data_dir=tmp_path / "none", env={}) == Target(DEFAULT_URL, None)


def test_a_folders_token_stays_with_its_manager(tmp_path: Path) -> None:
    here = folder(tmp_path / "default", url="http://127.0.0.1:3", token="secret")
    with pytest.raises(Denied, match="belongs to another manager and was not sent"):
        Target.find(url=REMOTE, env={})
    with pytest.raises(Denied, match="belongs to another manager"):
        Target.find(env={"LONGSHORE_URL": REMOTE})
    with pytest.raises(Denied, match="belongs to another manager"):
        Target.find(url="http://127.0.0.1.example.org:3", data_dir=here, env={})
    assert Target.find(url=REMOTE, env={"LONGSHORE_TOKEN": "given"}) == Target(REMOTE, "given")
    folder(here, url=REMOTE)
    assert Target.find(env={}) == Target(REMOTE, "secret")
    assert Target.find(url=REMOTE + "/", env={}) == Target(REMOTE, "secret")


def test_elsewhere_nothing_is_asked_without_a_token() -> None:
    with pytest.raises(Denied, match="no token for"):
        Target.find(url=REMOTE, env={})


def test_files_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="no token file"):
        Target.find(token_file=tmp_path / "none", env={})
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(Invalid, match="is empty"):
        Target.find(token_file=tmp_path / "empty", env={})
    with pytest.raises(Invalid, match="one word"):
        Target.find(env={"LONGSHORE_TOKEN": "two\r\nX-Injected: yes"})
    (folder(tmp_path / "default") / "manager.json").write_text("{")
    with pytest.raises(Invalid, match=r"manager\.json does not say where"):
        Target.find(env={})


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://h:1/", "http://h:1"),
        ("https://h/base/", "https://h/base"),
        ("http://0.0.0.0:7440", "http://127.0.0.1:7440"),
        ("http://[::]:7440", "http://[::1]:7440"),
        ("http://[fe80::1]:1", "http://[fe80::1]:1"),
    ],
)
def test_addresses_have_one_spelling(given: str, meant: str) -> None:
    assert checked_url(given) == meant


@pytest.mark.parametrize(
    "url", ["", "h:1", "ftp://h", "http://", "http://h:x", "http://h:99999", "http://me:secret@h", "http://h?a=b"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        checked_url(url)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1", True),
        ("http://127.9.9.9", True),
        ("http://localhost:1", True),
        ("http://[::1]:1", True),
        ("http://127.0.0.1.example.org", False),
        ("http://localhost.example.org", False),
        ("http://10.0.0.1", False),
        ("http://[::2]", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_the_default_folder_is_the_users_or_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert default_data_dir() == Path("/home/me/.local/share/longshore")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/longshore")
    assert chosen_data_dir("/a", {"LONGSHORE_DATA": "/b"}) == Path("/a")
    assert chosen_data_dir(None, {"LONGSHORE_DATA": "/b"}) == Path("/b")


# -- what a failure means


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, Denied),
        (403, Denied),
        (404, NotFound),
        (409, Conflict),
        (410, Compacted),
        (412, Conflict),
        (500, Refused),
        (503, Unavailable),
    ],
)
def test_every_status_is_a_failure(status: int, kind: type[Failure]) -> None:
    body = msgspec.json.encode({"title": "No", "status": status, "detail": "because", "field": "spec.image"})
    failure = failure_of(status, body, "http://h")
    assert type(failure) is kind
    assert "because" in failure.message
    if kind is Invalid:
        assert failure.field == "spec.image"


def test_denied_tells_whether_the_asker_is_known() -> None:
    unknown, known = failure_of(401, b"{}", "http://h"), failure_of(403, b"{}", "http://h")
    assert isinstance(unknown, Denied)
    assert isinstance(known, Denied)
    assert (unknown.known, known.known) == (False, True)
    assert "--token-file" in unknown.message


@given(st.integers(300, 599), st.binary(max_size=300))
def test_any_bad_answer_is_an_expected_failure(status: int, body: bytes) -> None:
    failure = failure_of(status, body, "http://h")
    assert isinstance(failure, FAILURE_OF.get(status, Refused))
    assert failure.message.isprintable() or not body.decode("utf-8", "replace").isprintable()


def test_nobody_there_is_unavailable_and_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(Unavailable, match=f"nobody answers at {url}.*longshore manager.*--url"):
        Client(url).cluster()


def test_what_does_not_speak_http_is_unavailable() -> None:
    with talking([b"SSH-2.0-OpenSSH\r\n"]) as manager, pytest.raises(Unavailable, match="does not speak HTTP"):
        Client(manager.url).cluster()


def test_an_answer_of_another_shape_is_refused() -> None:
    with (
        talking([answer({"hello": 1})]) as manager,
        Client(manager.url) as client,
        pytest.raises(Refused, match="not understood"),
    ):
        client.cluster()


# -- connections


def test_one_connection_is_kept_and_shows_the_token() -> None:
    with talking([answer(CLUSTER), refusal(404, "no"), answer(CLUSTER)]) as manager:
        with Client(manager.url, "secret") as client:
            assert client.cluster().revision == 7
            with pytest.raises(NotFound, match="no"):
                client.task("web.1.1")
            client.cluster()
        assert manager.connections == 1
        assert {one.headers["Authorization"] for one in manager.heard} == {"Bearer secret"}


def test_what_changes_nothing_is_asked_again_on_a_dead_connection() -> None:
    with talking([answer(CLUSTER), HANG_UP], [answer(CLUSTER)]) as manager, Client(manager.url) as client:
        client.cluster()
        assert client.cluster().revision == 7
        assert [one.target for one in manager.heard] == ["/v1/cluster"] * 3


def test_what_may_not_be_repeated_is_not() -> None:
    with talking([answer(CLUSTER), HANG_UP], [answer(CLUSTER)]) as manager, Client(manager.url) as client:
        client.cluster()
        with pytest.raises(Unavailable):
            client.scale("web", 3)
        assert [one.method for one in manager.heard] == ["GET", "POST"]


def test_a_condition_makes_a_request_unrepeatable() -> None:
    with talking([answer(CLUSTER), HANG_UP], [answer(CLUSTER)]) as manager, Client(manager.url) as client:
        client.cluster()
        with pytest.raises(Unavailable):
            client.put_service("web", ServiceSpec(image="x"), if_absent=True)
        assert len(manager.heard) == 2
        assert manager.heard[1].headers["If-None-Match"] == "*"


def test_a_new_connection_that_breaks_is_not_tried_again() -> None:
    with talking([HANG_UP], [answer(CLUSTER)]) as manager, Client(manager.url) as client:
        with pytest.raises(Unavailable):
            client.cluster()
        assert manager.connections == 1


def test_lists_are_read_to_their_end() -> None:
    pages = [{"items": [token(1), token(2)], "next": "two"}, {"items": [token(3)], "next": None}]
    with talking([answer(page) for page in pages]) as manager, Client(manager.url) as client:
        assert [one.id for one in client.tokens()] == ["t1", "t2", "t3"]
        assert "after=two" in manager.heard[1].target


def test_names_and_conditions_travel_as_they_are() -> None:
    with talking([refusal(412, "changed")]) as manager, Client(manager.url) as client:
        with pytest.raises(Conflict, match="changed"):
            client.change_node("a/b c", NodePatch(availability=Availability.PAUSED), if_revision=4)
        heard = manager.heard[0]
        assert (heard.method, heard.target) == ("PATCH", "/v1/nodes/a%2Fb%20c")
        assert heard.headers["If-Match"] == '"4"'
        assert msgspec.json.decode(heard.body)["availability"] == "paused"


def test_a_backup_that_breaks_off_is_not_taken_for_whole() -> None:
    cut = b"HTTP/1.1 200 Said\r\nContent-Length: 10\r\n\r\n12345"
    with talking([cut]) as manager, Client(manager.url) as client, pytest.raises(Unavailable, match="broke off"):
        list(client.backup())


def token(number: int) -> dict[str, object]:
    return {
        "id": f"t{number}",
        "role": "join",
        "node": "",
        "uses_left": 1,
        "created_at": 1.0,
        "expires_at": None,
    }


# -- streams


def test_logs_end_with_their_reason() -> None:
    lines = b'{"at":1.0,"stream":"stdout","text":"a"}\n\n{"at":2.0,"stream":"stderr","te'
    rest = b'xt":"b"}\n{"error":"node n1 left"}\n'
    with talking([stream(lines, rest, ended=True)]) as manager, Client(manager.url) as client:
        read = client.logs("web.1.1", tail=5)
        assert [next(read).text, next(read).text] == ["a", "b"]
        with pytest.raises(Unavailable, match=r"log of web\.1\.1 was cut off: node n1 left"):
            next(read)
        assert manager.heard[0].target == "/v1/tasks/web.1.1/logs?tail=5"


def test_logs_are_read_line_by_line() -> None:
    lines = b'{"at":1.0,"stream":"stdout","text":"a"}\n{"at":2.0,"stream":"stderr","text":"b"}\n'
    pieces = [lines[at : at + 7] for at in range(0, len(lines), 7)]
    with talking([stream(*pieces, ended=True)]) as manager, Client(manager.url) as client:
        assert [line.text for line in client.logs("web.1.1", follow=True)] == ["a", "b"]
        assert "follow=true" in manager.heard[0].target


@given(st.data())
def test_server_events_do_not_depend_on_how_they_are_cut(data: st.DataObject) -> None:
    whole = (
        b": hello\n\nid: 1.0\ndata: {}\n\nevent: item\r\ndata: a\r\ndata: b\r\n\r\n"
        b"retry: 5\nid: 2\n\ndata:x\n\nid: 3\ndata: lost"
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert list(parse(pieces)) == [
        ServerEvent("message", "1.0", "{}"),
        ServerEvent("item", "1.0", "a\nb"),
        ServerEvent("message", "2", ""),
        ServerEvent("message", "2", "x"),
    ]


class Line:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0

    def patience(self, limit_s: float = 10.0) -> Patience:
        return Patience(limit_s, clock=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def opened(*answers: bytes | Failure) -> tuple[list[str], object]:
    """An opener that gives one of `answers` each time, and what it was asked to go on from."""
    left, asked = list(answers), list[str]()

    def open_stream(last: str) -> AbstractContextManager[list[bytes]]:
        asked.append(last)
        said = left.pop(0) if left else Unavailable("nobody")
        if isinstance(said, Failure):
            raise said
        return nullcontext([said])

    return asked, open_stream


def taken(source: Iterator[ServerEvent | None]) -> list[str]:
    """Texts until the stream is given up; `|` for each break."""
    got = []
    try:
        for one in source:
            got.append("|" if one is None else one.text)  # noqa: PERF401  (what came before the failure counts)
    except Failure as failure:
        got.append(type(failure).__name__)
    return got


def test_a_stream_goes_on_after_its_last_id() -> None:
    asked, open_stream = opened(b"id: 5\ndata: a\n\n", Unavailable("away"), b"data: b\n\nid: 6\ndata: c\n\n")
    got = taken(resumed(open_stream, "4", Line().patience()))  # type: ignore[arg-type]
    assert got[:5] == ["a", "|", "|", "b", "c"]
    assert got[-1] == "Unavailable"
    assert asked[:4] == ["4", "5", "5", "6"]


def test_a_stream_that_never_was_there_is_given_up_at_once() -> None:
    asked, open_stream = opened()
    assert taken(resumed(open_stream, "", Line().patience())) == ["Unavailable"]  # type: ignore[arg-type]
    assert asked == [""]


def test_patience_is_counted_from_the_break() -> None:
    line = Line()
    _, open_stream = opened(b"data: a\n\n")
    taken(resumed(open_stream, "", line.patience(10.0)))  # type: ignore[arg-type]
    assert 10.0 < line.now < 15.0


def test_other_failures_end_a_stream() -> None:
    _, open_stream = opened(b"id: 1\ndata: a\n\n", Compacted("gone"), b"data: b\n\n")
    assert taken(resumed(open_stream, "", Line().patience())) == ["a", "|", "Compacted"]  # type: ignore[arg-type]


def item(one: Task) -> ServerEvent:
    return ServerEvent("item", "", msgspec.json.encode(one).decode())


def test_a_watch_hides_its_breaks() -> None:
    one, two, three = task("web.1.1"), task("web.2.1"), task("web.3.1")
    changed = task("web.2.1", node="n1")
    ready, gone = ServerEvent("ready", "", "{}"), ServerEvent("gone", "", '{"id":"web.3.1"}')
    story = [item(one), item(two), ready, item(three), gone, gone, None, item(changed), None, item(changed), ready]
    assert list(watched(story, Task, lambda task: task.id)) == [
        Item(one),
        Item(two),
        Ready(),
        Item(three),
        Gone("web.3.1"),
        Broken(),
        Item(changed),
        Broken(),
        Gone("web.1.1"),
        Ready(),
    ]


def test_events_are_taken_up_where_they_broke() -> None:
    def event(id: str) -> bytes:
        view = EventView(
            id=id,
            at=1.0,
            kind="node",  # type: ignore[arg-type]
            name="n1",
            by="user",  # type: ignore[arg-type]
            reason="node changed",  # type: ignore[arg-type]
            message="",
        )
        return b"id: %b\ndata: %b\n\n" % (id.encode(), msgspec.json.encode(view))

    first, second = stream(b"id: 7\n\n: here\n\n"), stream(event("8.0"), b"id: 9")
    with talking([first], [second], [stream(event("9.0"))]) as manager, Client(manager.url) as client:
        events = client.events(service="web")
        assert [next(events).id, next(events).id] == ["8.0", "9.0"]
        events.close()  # type: ignore[attr-defined]
    asked = [one.target for one in manager.heard]
    assert ["after" in target for target in asked] == [False, True, True]
    assert "after=7" in asked[1]
    assert "after=8.0" in asked[2]


def test_a_watch_begins_anew() -> None:
    one = task("web.1.1")
    said = b"event: item\ndata: %b\n\nevent: ready\ndata: {}\n\n" % msgspec.json.encode(one)
    with talking([stream(said)], [stream(said)]) as manager, Client(manager.url) as client:
        watch = client.watch_tasks(service="web")
        assert [next(watch) for _ in range(4)] == [Item(one), Ready(), Broken(), Ready()]
        watch.close()  # type: ignore[attr-defined]
    assert {one.target for one in manager.heard} == {"/v1/tasks?service=web&watch=true"}


def test_names_that_no_address_can_carry() -> None:
    with talking([refusal(404, "no such task")]) as manager, Client(manager.url) as client:
        with pytest.raises(NotFound):
            client.why("a\udcff")
        assert manager.heard[0].target == "/v1/tasks/a%FF/why"
    with Client("http://a..b:7440") as client, pytest.raises(Invalid, match="names no machine"):
        client.cluster()


def test_a_followed_log_that_was_quiet_when_it_was_cut_is_not_read_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("longshore.cli.logs._AGAIN_S", 0.0)
    line = b'{"at":7.0,"stream":"stdout","text":"a"}\n'
    with talking([stream()], [stream(line)], [stream(ended=True)]) as manager, Client(manager.url) as client:
        assert [one.text for one in _unbroken(client, "web.1.1", Wish(tail=0, since=5.0))] == ["a"]
        first, second, third = (one.target.partition("?")[2] for one in manager.heard)
    assert first == second
    assert "tail=0" in first
    assert "tail" not in third
    assert "since=" in third


def test_a_followed_log_is_given_up_when_nobody_answers_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longshore.cli.logs._AGAIN_S", 0.05)
    monkeypatch.setattr("longshore.cli.logs.PATIENCE_S", 0.5)
    line = b'{"at":7.0,"stream":"stdout","text":"a"}\n'
    with talking([stream(line)]) as manager, Client(manager.url) as client:
        lines = _unbroken(client, "web.1.1", Wish(tail=None, since=None))
        assert next(lines).text == "a"
        with pytest.raises(Unavailable):
            next(lines)
        assert manager.connections > 2
