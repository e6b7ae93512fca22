"""The parts of the benchmarks that decide what a figure says: percentiles, verdicts, frames, draws, the light worker."""

from random import Random

import msgspec
import pytest
from bench import compaction, evenness, gpus, history, picture, shapes
from bench.conditions import Conditions
from bench.figure import Figure
from bench.frames import framed, unframed
from bench.light import ANSWER, BEAT, LightWorker, Record
from bench.report import Report, table
from bench.spread import Spread, nearest, per_second, spread

from longshore.model.containers import Assigned
from longshore.model.lifecycle import State, Wanted
from longshore.model.messages import Acknowledge, Assignment, Down, Reports, Up, Welcome
from longshore.model.objects import Task
from longshore.model.spec import ServiceSpec

UP: msgspec.json.Decoder[Up] = msgspec.json.Decoder(Up)
CONDITIONS = Conditions(
    at="2026-01-01",
    cores=2,
    processor="p",
    memory_gb=1.0,
    kernel="6",
    python="3.11",
    longshore="0.1.0",
    engine="",
    load_before=0.0,
    busy_before=0.25,
)


@pytest.mark.parametrize(
    ("samples", "is_"),
    [
        pytest.param([], Spread(), id="none"),
        pytest.param([3.0], Spread(1, 3.0, 3.0, 3.0), id="one"),
        pytest.param([2.0, 1.0], Spread(2, 1.0, 2.0, 2.0), id="two: half of them are at most the first"),
        pytest.param([float(n) for n in range(100, 0, -1)], Spread(100, 50.0, 99.0, 100.0), id="a hundred"),
        pytest.param([float(n) for n in range(1, 102)], Spread(101, 51.0, 100.0, 101.0), id="rounded up"),
    ],
)
def test_spread(samples: list[float], is_: Spread) -> None:
    assert spread(samples) == is_


def test_nearest_never_leaves_the_samples() -> None:
    assert [nearest([1.0, 2.0, 3.0], share) for share in (0.0, 0.34, 1.0)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("moments", "counts"),
    [
        ([], []),
        ([0.2], [1]),
        ([0.2, 0.9, 1.1], [2]),
        ([0.2, 2.5, 2.6, 3.0], [1, 0, 2]),
        ([-0.1, 1.5], [1]),
    ],
)
def test_per_second(moments: list[float], counts: list[int]) -> None:
    assert per_second(moments, 0.0) == counts


@pytest.mark.parametrize(
    ("ratio", "value", "at_least", "met"),
    [
        (None, 1.0, False, True),
        (None, 1.1, False, False),
        (0.5, 9.0, False, True),
        (2.0, 0.1, True, True),
        (0.9, 9.0, True, False),
        (None, None, False, None),
    ],
)
def test_a_target_is_met_by_the_ratio_where_there_is_one(
    ratio: float | None, value: float | None, at_least: bool, met: bool | None
) -> None:
    figure = Figure(family="f", name="n", value=value, unit="s", target=1.0, ratio=ratio, at_least=at_least)
    assert figure.met is met


def test_what_cannot_be_measured_yet_says_so_and_is_no_miss() -> None:
    figure = Figure(family="f", name="n", value=None, unit="s", target=1.0, note="needs a")
    told = table(Report(conditions=CONDITIONS, figures=[figure], troubles={}))
    assert "not yet" in told
    assert "missed" not in told


# -- frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_frame_is_found_however_it_is_cut(size: int) -> None:
    ours = framed(bytes(size))
    # A server's frame is the same without the mask: neither its bit nor its four bytes.
    head = len(ours) - size - 4
    theirs = bytes((ours[0], ours[1] & 0x7F)) + ours[2:head] + ours[head + 4 :]
    twice = theirs + theirs
    assert unframed(twice, 0) == (1, bytes(size), len(theirs))
    assert unframed(twice, len(theirs)) == (1, bytes(size), len(twice))
    assert all(unframed(theirs[:cut], 0) is None for cut in (0, 1, len(theirs) - 1) if cut < len(theirs))


@pytest.mark.parametrize("first_two", [b"\x01\x00", b"\x81\x80"])
def test_a_frame_that_no_session_has_is_not_taken_for_one(first_two: bytes) -> None:
    with pytest.raises(ValueError, match="masked, or a part"):
        unframed(first_two, 0)


# -- the light worker


class Talk:
    """A light worker, and what it said."""

    def __init__(self) -> None:
        self.now = 0.0
        self.record = Record()
        self.worker = LightWorker("n00001", lambda: self.now, lambda: self.now)
        self.frames: list[bytes] = []
        self.worker.send = self.frames.append

    def hear(self, message: Down) -> list[Up]:
        self.frames.clear()
        self.worker.hear(msgspec.json.encode(message), self.record)
        return [self._read(frame) for frame in self.frames]

    def _read(self, frame: bytes) -> Up:
        at = 2 + {126: 2, 127: 8}.get(frame[1] & 0x7F, 0) + 4
        return UP.decode(frame[at:])


def assignment(*tasks: Task, full: bool = False) -> Assignment:
    return Assignment(
        revision=1, full=full, put=tuple(Assigned(task=one, spec=ServiceSpec(image="x")) for one in tasks)
    )


def task(state: State = State.PLACED, wanted: Wanted = Wanted.RUNNING, container: str = "") -> Task:
    return Task(
        id="web.1.1",
        service="web",
        slot=1,
        generation=1,
        release=1,
        node="n00001",
        state=state,
        wanted=wanted,
        container_id=container,
        created_at=1.0,
    )


def said(messages: list[Up]) -> list[tuple[int, State, bool]]:
    return [
        (one.seq, seen.state, bool(seen.container_id))
        for one in messages
        if isinstance(one, Reports)
        for seen in one.observations
    ]


def test_a_light_worker_runs_what_it_is_given_step_by_step() -> None:
    talk = Talk()
    reached = talk.record.until("web.", 1)
    talk.now = 5.0
    assert said(talk.hear(assignment(task(), full=True))) == [(1, State.ACCEPTED, False)]
    assert talk.record.received_at == {"web.1.1": 5.0}
    talk.now = 6.0
    assert said(talk.hear(Acknowledge(seq=1))) == [(2, State.RUNNING, True)]
    assert not reached.is_set()
    talk.now = 8.0
    assert talk.hear(Acknowledge(seq=1)) == []  # an old one
    assert said(talk.hear(Acknowledge(seq=2))) == []
    assert (talk.record.running_at, talk.record.durable_s) == ({"web.1.1": 8.0}, [1.0, 2.0])
    assert reached.is_set()


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        pytest.param(task(State.RUNNING), [], id="runs already: it was there before the connection broke"),
        pytest.param(task(State.ACCEPTED), [(1, State.RUNNING, True)], id="accepted before the connection broke"),
        pytest.param(task(State.RUNNING, Wanted.STOPPED), [(1, State.STOPPED, True)], id="to be stopped"),
        pytest.param(task(State.RUNNING, Wanted.REMOVED), [(1, State.STOPPED, False)], id="to be removed"),
        pytest.param(task(State.FAILED, Wanted.REMOVED, "c"), [(1, State.FAILED, False)], id="its container may go"),
        pytest.param(task(State.FAILED, Wanted.RUNNING, "c"), [], id="failed, and known to be"),
        pytest.param(task(State.LOST), [], id="given up by the manager"),
    ],
)
def test_a_light_worker_says_what_an_engine_would_make_true(given: Task, answer: list[tuple[int, State, bool]]) -> None:
    assert said(Talk().hear(assignment(given, full=True))) == answer


def test_a_light_worker_fails_only_what_runs() -> None:
    talk = Talk()
    assert not talk.worker.fail()
    talk.hear(assignment(task(State.RUNNING), full=True))
    assert talk.worker.fail()
    assert not talk.worker.fail()


def test_a_beat_is_missed_once_the_next_one_is_due() -> None:
    talk = Talk()
    talk.hear(Welcome(cluster="c", node="n00001", heartbeat_s=5.0))
    for moment, answered in ((1.0, True), (6.0, False), (11.0, False), (16.0, True)):
        talk.now = moment
        talk.worker.beat(talk.record)
        if answered:
            talk.now += 0.25
            talk.worker.hear(ANSWER, talk.record)
    assert talk.frames == [BEAT] * 4
    assert (talk.record.beats, talk.record.missed, talk.record.answered_s) == (4, 2, [0.25, 0.25])


# -- shapes, draws, history, picture


def test_every_shape_has_a_name_of_its_own_and_can_be_carried_out_or_says_why_not() -> None:
    names = [shape.name for shape in shapes.SHAPES]
    assert len(set(names)) == len(names)
    for shape in shapes.SHAPES:
        assert shape.needs or shape.measured % shape.services == 0
        assert shapes.shape_named(shape.name) is shape
    assert shapes.shape_named("curve 500 2000").services == 2


def test_a_cell_is_filled_as_it_says_and_compacted_to_the_least_that_holds_it() -> None:
    one = compaction.cell(Random(3), 20)
    for which, need in ((0, "cpu_millis"), (1, "memory")):
        wanted = sum(getattr(job, need) * job.tasks for job in one.jobs)
        assert wanted <= compaction.FILLED * sum(size[which] for size in one.machines)
    order = list(range(20))
    for pack in (compaction.scored_by(compaction.best_fit), compaction.decided_by("binpack")):
        least = compaction.compacted(one, order, pack)
        assert pack(one, order[:least]) <= compaction.PENDING_MAX * one.tasks
        assert pack(one, order[: least - 1]) > compaction.PENDING_MAX * one.tasks


def test_best_fit_of_the_bench_packs_as_placement_does_by_binpack_where_machines_are_alike() -> None:
    machines = ((32_000, 64 << 30),) * 6
    jobs = (compaction.Job(5000, 8 << 30, 9), compaction.Job(3000, 16 << 30, 9))
    one = compaction.Cell(machines, jobs)
    for count in range(7):
        ours = compaction.decided_by("binpack")(one, range(count))
        assert ours == compaction.scored_by(compaction.best_fit)(one, range(count))


def test_a_rebalance_is_measured_against_the_fewest_moves_that_even_counts_need() -> None:
    one = evenness.evened()
    assert one.fewest == 100  # ten of forty nodes are to have ten of 400 tasks each
    assert one.fewest <= one.moves <= one.anew
    assert one.after < one.before


def test_gpus_are_those_published_and_so_is_the_demand() -> None:
    state = gpus.published_nodes()
    assert (len(state.cpu), int((state.gpus > 0).sum())) == (1213, 6212)
    pool, weights = gpus.made_up()
    mean = sum(one.in_all * weight for one, weight in zip(pool, weights, strict=True)) / sum(weights)
    shared = sum(w * one.in_all for one, w in zip(pool, weights, strict=True) if one.gpu_millis < gpus.WHOLE)
    assert shared / sum(weights) / mean == pytest.approx(0.285, abs=0.01)


def test_a_gpu_is_never_given_out_twice() -> None:
    half, whole = gpus.Demand(1000, 1, 1, 600), gpus.Demand(1000, 1, 1, 1000)
    # Each of 6,212 GPUs holds one of either, so that two halves too large for one GPU leave the rest of it unused.
    tasks = [half] * 6212 + [whole] * 6212
    assert gpus.allocated(tasks, "best fit", 0) == pytest.approx(0.6, abs=0.001)


def test_history_tells_a_figure_commit_after_commit() -> None:
    figures = [
        Figure(family="f", name="a", value=12.3456, unit="s"),
        Figure(family="f", name="b", value=None, unit="s"),
    ]
    run = history.kept(Report(conditions=CONDITIONS, figures=figures, troubles={}), "abc")
    assert run.figures == {"f: a (s)": 12.35}
    runs = [run, msgspec.structs.replace(run, commit="def", figures={"f: a (s)": 10.0, "g: c (s)": 1.0})]
    assert history.told(runs, ["f:", "a"]) == ["f: a (s): abc 12.3, def 10.0"]


def test_the_picture_has_a_line_for_each_thing_that_grows() -> None:
    names = ["1000 nodes, 50 tasks", "500 nodes, 50 tasks", "20 tasks, 500 nodes", "something else"]
    figures = [Figure(family="curve", name=name, value=float(at), unit="us") for at, name in enumerate(names)]
    lines = picture.lines_of(figures, "curve")
    assert lines == [
        picture.Line("nodes grow, 50 tasks", ((500.0, 1.0), (1000.0, 0.0))),
        picture.Line("tasks grow, 500 nodes", ((20.0, 2.0),)),
    ]
    drawing = picture.drawn("what", "us", lines)
    assert drawing.count("<polyline") == 2
    assert "nodes grow, 50 tasks" in drawing
