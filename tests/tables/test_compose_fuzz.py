"""Whatever a file says: an app that can be encoded, or Invalid; nothing else escapes, and it takes no time."""

import time
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from longshore.compose import ComposeApp, load, table
from longshore.compose.quantities import cores, duration_s, size_bytes, truth, whole
from longshore.model.errors import Invalid
from longshore.model.spec import ServiceSpec

EVERY = Path(__file__).with_name("compose") / "every.yaml"
ENV = {"HOME": "/home/me", "A": "1", "EMPTY": "", "BROKEN": "\udcff", "TAG": "t", "HTTP_PORT": "80"}

FAST = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

KEYS = sorted(
    {key for level in table.LEVELS for key in (*level.supported, *level.refused)} | {"x-a", "web", "<<", "$A"}
)
WORDS = [
    "", "a", "$A", "${A", "${NO:-1}", "$BROKEN", "~", "~/a:/b", "80", "1:2:3", "8000-8001:1-2", "[::1]:1:2", "1m",
    "node.labels.a==b", "on-failure:2", "no", "true", "a:/b:ro", "CMD", "NONE", "K=v", "volume", "bind", "tmpfs",
    "64m", "global", "\0", "\x85", "é", "😀", "a'b", "0x10", "1e9", ".inf", "2001-01-01", "9" * 5000, "/" * 5000,
]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(WORDS), st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.none(), st.dates()
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
LEVELS = st.dictionaries(st.sampled_from(sorted(table.SERVICE.supported)), TREES, max_size=6)


def read(folder: Path, content: bytes, **extra: bytes) -> ComposeApp | None:
    file = folder / "compose.yaml"
    file.write_bytes(content)
    for name, text in extra.items():
        (folder / name.replace("_", ".", 1)).write_bytes(text)
    try:
        app = load(file, env=ENV, project="p")
    except Invalid as refused:
        for line in refused.message.split("\n"):
            assert line.startswith(str(folder)), line
        return None
    # What passes is what the API takes: every type as declared, every text encodable.
    msgspec.convert(msgspec.to_builtins(app), ComposeApp)
    for spec in app.services.values():
        assert msgspec.json.decode(msgspec.json.encode(spec), type=ServiceSpec) == spec
    return app


@FAST
@given(st.binary(max_size=200))
@example(b"\xff\xfea\x00")
@example(b'services: {web: {image: "\\uD83D\\uDE00"}}')
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    read(tmp_path, content)


@FAST
@given(st.text(alphabet=" \t\n-:?[]{},&*!|>'\"%@`#<~$ab1", max_size=80))
def test_any_punctuation(tmp_path: Path, text: str) -> None:
    read(tmp_path, text.encode())
    read(tmp_path, b"services: {web: {image: i}}", _env=text.encode())
    (tmp_path / ".env").unlink()


@FAST
@given(TREES)
def test_any_tree(tmp_path: Path, tree: object) -> None:
    read(tmp_path, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace"))


@FAST
@given(LEVELS, LEVELS, TREES)
def test_any_service(tmp_path: Path, one: dict[str, object], two: dict[str, object], volumes: object) -> None:
    app = {"services": {"web": {"image": "i", **one}, "api": two}, "volumes": volumes}
    read(tmp_path, yaml.safe_dump(app, allow_unicode=True).encode("utf-8", "replace"))


@FAST
@given(st.data())
def test_the_file_with_every_key_with_one_part_changed(tmp_path: Path, data: st.DataObject) -> None:
    text = EVERY.read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 12, len(text))))
    part = data.draw(st.sampled_from(WORDS) | st.text(alphabet="$:-[]{}'\"\n #&*ab1", max_size=6))
    read(tmp_path, (text[:start] + part + text[end:]).encode(), web_env=b"A=1")


@FAST
@given(st.text(max_size=60))
def test_any_env_file(tmp_path: Path, text: str) -> None:
    read(tmp_path, b"services: {web: {image: i, env_file: a.env}}", a_env=text.encode("utf-8", "replace"))


@FAST
@given(st.text(alphabet="0123456789.-+ smhunµkKMGgiIbBxoeE", max_size=50) | st.sampled_from(WORDS))
def test_quantities_are_read_or_refused_in_words(text: str) -> None:
    for quantity in (cores, duration_s, size_bytes, truth, whole):
        try:
            quantity(text)
        except ValueError as error:
            message = str(error)
        else:
            continue
        assert message.startswith(("must be ", "is "))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{a: " * 250_000,
        "- " * 500_000,
        "? " * 500_000,
        "-\n" * 500_000,
        "services:\n" + "".join(f"  s{n}: {{wrong: }}\n" for n in range(40_000)),
        "services: {web: {image: '" + "${A:-" * 100_000 + "}" * 100_000 + "'}}",
        "services: {web: {image: '" + "$A" * 500_000 + "'}}",
        "services: {web: {image: i, stop_grace_period: " + "1s" * 500_000 + "}}",
        "services: {web: {image: i, mem_limit: " + "1" * 1_000_000 + "}}",
        "services: {web: {image: i, mem_limit: " + "1 " * 500_000 + "}}",
        "services: {web: {image: i, deploy: {placement: {constraints: ['" + " " * 500_000 + "']}}}}",
        "services: {web: {image: i, deploy: {placement: {constraints: ['a==" + "b " * 250_000 + "\\n']}}}}",
        "services: {web: {image: i, ports: ['" + ":" * 500_000 + "']}}",
        "services: {web: {image: i, ports: ['" + "1-" * 500_000 + "']}}",
        "services: {web: {image: i, command: '" + "a " * 500_000 + "'}}",
        "services: {web: {image: i, " + "a" * 1_000_000 + ": 1}}",
        "services: {web: {image: i, volumes: ['" + "a:" * 500_000 + "']}}",
    ],
    ids=range(18),
)
def test_a_hostile_file_takes_no_more_time_than_its_size(tmp_path: Path, text: str) -> None:
    start = time.perf_counter()
    read(tmp_path, text[: 1024 * 1024].encode())
    assert time.perf_counter() - start < 5.0


def test_ten_services_load_at_once(tmp_path: Path) -> None:
    text = EVERY.read_text()
    head, web = text[: text.index("  web:")], text[text.index("  web:") : text.index("  old:")]
    tail = text[text.index("volumes:\n  data:") :]
    many = head + "".join(web.replace("  web:", f"  web{n}:", 1) for n in range(10)) + tail
    (tmp_path / "web.env").write_text("A=1\n")
    (tmp_path / "compose.yaml").write_text(many)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        app = load(tmp_path / "compose.yaml", env={"TAG": "t", "HTTP_PORT": "80"})
        times.append(time.perf_counter() - start)
    assert len(app.services) == 10
    # 10 ms is the promise for ten services of ordinary size; these say everything that can be said.
    assert min(times) < 0.05
