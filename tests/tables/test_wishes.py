"""What each verb of a user changes, and what it refuses."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from longshore.decide import wishes
from longshore.decide.admission import admit
from longshore.model.changes import Change
from longshore.model.errors import Conflict, Failure, Invalid, NotFound
from longshore.model.lifecycle import Owner, State, Wanted
from longshore.model.objects import Availability, Kind, Node, NodeStatus, Release, ReleasePhase, Role, Service, Token
from longshore.model.placing import Taint, TaintEffect
from longshore.model.reasons import Reason
from longshore.model.snapshot import Snapshot
from longshore.model.spec import Limits, Mode, RestartPolicy, ServiceSpec
from longshore.model.views import NodePatch, ServiceWish
from tests.situations import NOW, node, said, service, task, world

WEB = replace(service(replicas=3, env={"A": "1"}), spec=admit(service(replicas=3, env={"A": "1"}).spec))
SHOP = replace(WEB, app="shop")
DB = replace(service("db", app="shop"), spec=admit(service("db").spec))


def wish(app: str = "", name: str | None = None, **fields: Any) -> ServiceWish:
    """WEB's spec with some fields changed."""
    return ServiceWish(spec=replace(WEB.spec, **fields), app=app, name=name)


def apply(situation: Snapshot, asked: ServiceWish) -> list[Change]:
    return wishes.apply_service(situation, "web", asked, NOW)


def releases_made(changes: list[Change]) -> list[int]:
    return [change.after.number for change in changes if isinstance(change.after, Release)]


def token(id: str, role: Role, of: str = "") -> Token:
    return Token(id=id, role=role, sha256=id, node=of)


LEFTOVER = Release(service="web", number=7, spec=WEB.spec)


@pytest.mark.parametrize(
    ("situation", "asked", "expected", "reason", "message"),
    [
        pytest.param(world(), wish(), ["+web", "+web@1"], Reason.CREATED, "", id="created"),
        pytest.param(world(WEB), wish(), [], None, "", id="as it is"),
        pytest.param(
            world(WEB), wish(restart=RestartPolicy()), [], None, "", id="as it is, with a default left to admission"
        ),
        pytest.param(world(WEB), wish(replicas=5), ["web changed"], Reason.SCALED, "3 to 5", id="only the count"),
        pytest.param(
            world(WEB),
            wish(restart=RestartPolicy(delay_s=1.0)),
            ["web changed"],
            Reason.UPDATED,
            "restart.delay_s",
            id="only the restart rules: no release",
        ),
        pytest.param(
            world(WEB), wish(image="web:2"), ["web changed", "+web@2"], Reason.UPDATED, "release 2: image", id="image"
        ),
        pytest.param(
            world(WEB),
            wish(replicas=1, limits=Limits(pids=9), env={"A": "2", "B": "1"}),
            ["web changed", "+web@2"],
            Reason.UPDATED,
            "release 2: replicas, env[A], env[B], limits.pids",
            id="several fields",
        ),
        pytest.param(
            world(WEB),
            wish(env={str(n): "" for n in range(9)}),
            ["web changed", "+web@2"],
            Reason.UPDATED,
            "release 2: env[A], env[0], env[1], env[2], env[3] and 5 more",
            id="very many",
        ),
        pytest.param(
            world(LEFTOVER), wish(), ["+web", "+web@8"], Reason.CREATED, "", id="after a release that is kept"
        ),
        pytest.param(
            world(task(1, release=9, wanted=Wanted.REMOVED), LEFTOVER),
            wish(),
            ["+web", "+web@10"],
            Reason.CREATED,
            "",
            id="after tasks of a removed service that still go",
        ),
        pytest.param(world(SHOP), wish(replicas=4), ["web changed"], Reason.SCALED, "3 to 4", id="stays in its app"),
        pytest.param(world(WEB), wish(app="shop"), ["web changed"], Reason.UPDATED, "app", id="taken into an app"),
    ],
)
def test_apply_service(
    situation: Snapshot, asked: ServiceWish, expected: list[str], reason: Reason | None, message: str
) -> None:
    changes = apply(situation, asked)
    assert said(changes) == expected
    assert {change.by for change in changes} <= {Owner.USER}
    assert {(change.reason, change.message) for change in changes} == ({(reason, message)} if changes else set())
    following, _ = situation.apply(changes, (), NOW) if changes else (situation, None)
    assert apply(following, asked) == []


def test_a_service_and_its_release_carry_the_admitted_spec() -> None:
    made, release = apply(world(), ServiceWish(spec=ServiceSpec(image="web"), app="shop"))
    expected = admit(ServiceSpec(image="web"))
    assert made.after == Service(name="web", app="shop", spec=expected, release=1, created_at=NOW, updated_at=NOW)
    assert release.after == Release(service="web", number=1, spec=expected, created_at=NOW)


def test_a_release_keeps_its_spec_when_only_the_count_changes() -> None:
    situation, _ = world(WEB).apply(apply(world(WEB), wish(replicas=9)), (), NOW)
    release = situation.release("web", 1)
    assert release is not None
    assert release.spec.replicas == 3
    # And the next release starts from what is wished now.
    changes = apply(situation, wish(replicas=9, image="web:2"))
    assert [change.after.spec.replicas for change in changes if isinstance(change.after, Release)] == [9]


def test_an_update_keeps_when_the_service_was_created() -> None:
    (change,) = apply(world(replace(WEB, created_at=1.0)), wish(replicas=4))
    assert isinstance(change.after, Service)
    assert (change.before, change.after.created_at, change.after.updated_at) == (1, 1.0, NOW)


@pytest.mark.parametrize(
    ("situation", "specs", "expected"),
    [
        pytest.param(world(), {"web": WEB.spec, "db": DB.spec}, ["+db", "+db@1", "+web", "+web@1"], id="a new app"),
        pytest.param(world(SHOP, DB), {"web": SHOP.spec, "db": DB.spec}, [], id="as it is"),
        pytest.param(world(SHOP, DB), {"db": DB.spec}, ["-web"], id="one no longer named"),
        pytest.param(world(SHOP, DB), {}, ["-db", "-web"], id="none named"),
        pytest.param(world(WEB, DB), {"db": DB.spec}, [], id="others' services are left alone"),
        pytest.param(
            world(SHOP),
            {"db": DB.spec, "web": replace(SHOP.spec, image="web:2")},
            ["+db", "+db@1", "web changed", "+web@2"],
            id="one new, one changed",
        ),
    ],
)
def test_apply_app(situation: Snapshot, specs: dict[str, ServiceSpec], expected: list[str]) -> None:
    changes = wishes.apply_app(situation, "shop", specs, NOW)
    assert said(changes) == expected
    assert all(change.after.app == "shop" for change in changes if isinstance(change.after, Service))
    following, _ = situation.apply(changes, (), NOW) if changes else (situation, None)
    assert wishes.apply_app(following, "shop", specs, NOW) == []


def test_the_largest_app_fits_one_commit() -> None:
    specs = {f"s{n}": WEB.spec for n in range(wishes.APP_SERVICES_MAX)}
    world().apply(wishes.apply_app(world(), "shop", specs, NOW), (), NOW)


def test_a_restart_is_a_new_release_of_the_same_spec() -> None:
    changes = wishes.restart(world(WEB), "web", NOW)
    assert said(changes) == ["web changed", "+web@2"]
    assert {change.reason for change in changes} == {Reason.RESTART_ASKED}
    assert [getattr(change.after, "spec", None) for change in changes] == [WEB.spec, WEB.spec]


@pytest.mark.parametrize(
    ("replicas", "expected"),
    [
        pytest.param(5, ["web changed"], id="more"),
        pytest.param(0, ["web changed"], id="none"),
        pytest.param(3, [], id="as many"),
    ],
)
def test_scale(replicas: int, expected: list[str]) -> None:
    changes = wishes.scale(world(WEB), "web", replicas, NOW)
    assert said(changes) == expected
    assert releases_made(changes) == []


def test_removing_takes_the_wish_and_leaves_the_tasks_to_controllers() -> None:
    situation = world(SHOP, DB, task(1), task(1, of="db"))
    assert said(wishes.remove_service(situation, "web")) == ["-web"]
    assert said(wishes.remove_app(situation, "shop")) == ["-db", "-web"]


N1 = node("n1", zone="a", disk="ssd")


@pytest.mark.parametrize(
    ("patch", "labels", "availability", "message"),
    [
        pytest.param(NodePatch(), None, None, "", id="nothing"),
        pytest.param(NodePatch(labels={"zone": "a"}), None, None, "", id="what it is already"),
        pytest.param(NodePatch(labels={"gone": None}), None, None, "", id="a label that is not there"),
        pytest.param(
            NodePatch(availability=Availability.DRAINED),
            {"zone": "a", "disk": "ssd"},
            Availability.DRAINED,
            "active to drained",
            id="availability",
        ),
        pytest.param(
            NodePatch(labels={"zone": "b", "disk": None, "gpu": ""}),
            {"zone": "b", "gpu": ""},
            Availability.ACTIVE,
            "label disk, label gpu, label zone",
            id="labels",
        ),
    ],
)
def test_patch_node(
    patch: NodePatch, labels: dict[str, str] | None, availability: Availability | None, message: str
) -> None:
    changes = wishes.patch_node(world(N1), "n1", patch, NOW)
    if labels is None:
        assert changes == []
        return
    (change,) = changes
    assert isinstance(change.after, Node)
    assert (change.after.labels, change.after.availability) == (labels, availability)
    assert (change.reason, change.message, change.after.status) == (Reason.NODE_CHANGED, message, NodeStatus.READY)


DEDICATED, OLD = Taint(key="dedicated", value="db"), Taint(key="old", effect=TaintEffect.NO_EXECUTE)


@pytest.mark.parametrize(
    ("patch", "taints", "resources", "message"),
    [
        (NodePatch(taints=(Taint(key="new"),)), (DEDICATED, Taint(key="new"), OLD), {"gpu": ("0", "1")}, "taints"),
        (NodePatch(untaint=("old",)), (DEDICATED,), {"gpu": ("0", "1")}, "taints"),
        (NodePatch(untaint=("dedicated:NoSchedule", "old")), (), {"gpu": ("0", "1")}, "taints"),
        (
            NodePatch(taints=(Taint(key="dedicated", value="web"),)),
            (Taint(key="dedicated", value="web"), OLD),
            {"gpu": ("0", "1")},
            "taints",
        ),
        (
            NodePatch(resources={"gpu": None, "licences": 3}),
            (DEDICATED, OLD),
            {"licences": 3},
            "resources",
        ),
    ],
)
def test_patch_of_taints_and_resources(
    patch: NodePatch, taints: tuple[Taint, ...], resources: dict[str, Any], message: str
) -> None:
    before = replace(N1, taints=(DEDICATED, OLD), resources={"gpu": ("0", "1")})
    (change,) = wishes.patch_node(world(before), "n1", patch, NOW)
    assert isinstance(change.after, Node)
    assert (change.after.taints, change.after.resources, change.message) == (taints, resources, message)


@pytest.mark.parametrize(
    ("patch", "field", "words"),
    [
        (NodePatch(untaint=("gone",)), "untaint[0]", "node n1 has no taint 'gone'"),
        (NodePatch(taints=(Taint(key=""),)), "taints[0].key", "taint's key"),
        (NodePatch(taints=(Taint(key="a", value=" "),)), "taints[0].value", "taint's value"),
        (NodePatch(taints=(Taint(key="a"), Taint(key="a", value="b"))), "taints[1].key", "twice"),
        (NodePatch(resources={"GPU": 1}), "resources", "resource's name"),
        (NodePatch(resources={"memory": 1}), "resources[memory]", "field of its own"),
        (NodePatch(resources={"gpu": -1}), "resources[gpu]", "0 to"),
        (NodePatch(resources={"gpu": ("a", "a")}), "resources[gpu]", "named twice"),
        (NodePatch(resources={"gpu": ("a b",)}), "resources[gpu]", "a device is named"),
    ],
)
def test_what_a_node_cannot_be_said_to_have(patch: NodePatch, field: str, words: str) -> None:
    with pytest.raises(Invalid, match=words) as caught:
        wishes.patch_node(world(N1), "n1", patch, NOW)
    assert caught.value.field == field


def test_a_node_goes_with_its_tokens() -> None:
    down = replace(N1, status=NodeStatus.DOWN)
    others = [token("j", Role.JOIN), token("t2", Role.NODE, "n2")]
    situation = world(down, token("t1", Role.NODE, "n1"), *others, task(1, state=State.LOST))
    changes = wishes.remove_node(situation, "n1")
    assert [(change.kind, change.id, change.after) for change in changes] == [
        (Kind.NODE, "n1", None),
        (Kind.TOKEN, "t1", None),
    ]
    assert {change.reason for change in changes} == {Reason.NODE_REMOVED}


FULL = [replace(service(f"s{n}"), app="shop") for n in range(wishes.APP_SERVICES_MAX)]
MANY = {f"s{n}": WEB.spec for n in range(61)}
NEW_60 = {f"n{n}": WEB.spec for n in range(60)}
HALF = replace(N1, status=NodeStatus.DOWN)
GLOBAL = service(mode=Mode.GLOBAL)
BAD = wish(replicas=-1)


@pytest.mark.parametrize(
    ("verb", "failure", "field", "words"),
    [
        pytest.param(lambda: apply(world(), BAD), Invalid, "spec.replicas", "0 to", id="bad spec"),
        pytest.param(lambda: apply(world(), wish(name="api")), Invalid, "name", "same", id="two names"),
        pytest.param(lambda: apply(world(), wish(app="My App")), Invalid, "app", "app's name", id="bad app"),
        pytest.param(
            lambda: wishes.apply_service(world(), "a.b", wish(), NOW), Invalid, "name", "service's name", id="bad name"
        ),
        pytest.param(lambda: apply(world(SHOP), wish(app="blog")), Conflict, None, "app shop", id="of another app"),
        pytest.param(lambda: apply(world(*FULL), wish(app="shop")), Invalid, "app", "the most", id="app is full"),
        pytest.param(
            lambda: wishes.apply_app(world(), "a/b", {}, NOW), Invalid, "app", "app's name", id="bad name of an app"
        ),
        pytest.param(
            lambda: wishes.apply_app(world(), "shop", MANY, NOW),
            Invalid,
            "services",
            "at most 60",
            id="too large an app",
        ),
        pytest.param(
            lambda: wishes.apply_app(world(*FULL), "shop", NEW_60, NOW), Invalid, "services", "128", id="all exchanged"
        ),
        pytest.param(
            lambda: wishes.apply_app(world(), "shop", {"a_b": WEB.spec}, NOW), Invalid, "services", "a_b", id="bad part"
        ),
        pytest.param(
            lambda: wishes.apply_app(world(), "shop", {"web": BAD.spec}, NOW),
            Invalid,
            "services.web.replicas",
            "0 to",
            id="bad spec in an app",
        ),
        pytest.param(
            lambda: wishes.apply_app(world(SHOP), "blog", {"web": WEB.spec}, NOW),
            Conflict,
            None,
            "app shop",
            id="an app takes another's service",
        ),
        pytest.param(
            lambda: wishes.apply_app(world(WEB), "blog", {"web": WEB.spec}, NOW),
            Conflict,
            None,
            "no app",
            id="an app takes a service without one",
        ),
        pytest.param(lambda: wishes.scale(world(WEB), "web", -1, NOW), Invalid, "replicas", "0 to", id="scale below 0"),
        pytest.param(lambda: wishes.scale(world(GLOBAL), "web", 2, NOW), Invalid, "replicas", "global", id="global"),
        pytest.param(lambda: wishes.scale(world(), "web", 2, NOW), NotFound, None, "web", id="scale nothing"),
        pytest.param(lambda: wishes.restart(world(), "web", NOW), NotFound, None, "web", id="restart nothing"),
        pytest.param(lambda: wishes.remove_service(world(), "web"), NotFound, None, "web", id="remove nothing"),
        pytest.param(lambda: wishes.remove_app(world(WEB), "shop"), NotFound, None, "shop", id="remove no app"),
        pytest.param(
            lambda: wishes.patch_node(world(), "n1", NodePatch(), NOW), NotFound, None, "n1", id="patch nothing"
        ),
        pytest.param(
            lambda: wishes.patch_node(world(N1), "n1", NodePatch(labels={"a b": ""}), NOW),
            Invalid,
            "labels",
            "key",
            id="label",
        ),
        pytest.param(
            lambda: wishes.patch_node(world(N1), "n1", NodePatch(labels={f"a{n}": "" for n in range(127)}), NOW),
            Invalid,
            "labels",
            "at most 128",
            id="too many labels with those it has",
        ),
        pytest.param(lambda: wishes.remove_node(world(N1), "n1"), Conflict, None, "stop its worker", id="ready node"),
        pytest.param(lambda: wishes.remove_node(world(), "n1"), NotFound, None, "n1", id="no node"),
        pytest.param(
            lambda: wishes.remove_node(world(HALF, task(1)), "n1"),
            Conflict,
            None,
            "not given up",
            id="node with live tasks",
        ),
    ],
)
def test_refused(verb: Callable[[], object], failure: type[Failure], field: str | None, words: str) -> None:
    with pytest.raises(failure) as refusal:
        verb()
    assert refusal.value.field == field
    assert words in refusal.value.message


@pytest.mark.parametrize("verb", [wishes.restart, lambda w, n, t: wishes.scale(w, n, 5, t)], ids=["restart", "scale"])
def test_every_door_goes_through_admission(verb: Callable[[Snapshot, str, float], object]) -> None:
    """A spec that was stored before a rule was made is refused by whatever would carry it on."""
    old = replace(WEB, spec=replace(WEB.spec, hostname="not a hostname"))
    with pytest.raises(Invalid, match="no hostname"):
        verb(world(old), "web", NOW)


# -- nodes by hand


BY_HAND = Node(
    name="n9",
    status=NodeStatus.DOWN,
    reason=Reason.NODE_REGISTERED,
    message="no worker has joined under this name",
    changed_at=NOW,
)


def test_a_node_registered_by_hand_is_a_record_that_nothing_is_placed_on() -> None:
    (change,) = wishes.register_node(world(), "n9", True, "", NOW)
    assert (change.after, change.before, change.reason) == (BY_HAND, 0, Reason.NODE_REGISTERED)


@pytest.mark.parametrize(
    ("before", "healthy", "after"),
    [
        (Availability.ACTIVE, True, Availability.ACTIVE),
        (Availability.ACTIVE, False, Availability.PAUSED),
        (Availability.PAUSED, False, Availability.PAUSED),
        (Availability.PAUSED, True, Availability.ACTIVE),
        (Availability.DRAINED, False, Availability.DRAINED),
        (Availability.DRAINED, True, Availability.ACTIVE),
        (Availability.LEAVING, False, Availability.LEAVING),
        (Availability.LEAVING, True, Availability.ACTIVE),
    ],
)
def test_a_node_is_called_healthy_or_not(before: Availability, healthy: bool, after: Availability) -> None:
    here = world(node("n1", availability=before))
    for changes in (wishes.mark_node(here, "n1", healthy), wishes.register_node(here, "n1", healthy, "", NOW)):
        found = [one.after.availability for one in changes if isinstance(one.after, Node)]
        assert found == ([after] if after is not before else [])


@pytest.mark.parametrize(
    ("before", "healthy", "kept"),
    [
        (Availability.DRAINED, False, True),
        (Availability.LEAVING, False, True),
        (Availability.DRAINED, True, False),
        (Availability.LEAVING, True, False),
        (Availability.ACTIVE, True, False),
        (Availability.PAUSED, False, False),
    ],
)
def test_a_deadline_ends_with_the_drain_that_it_was_given_for(before: Availability, healthy: bool, kept: bool) -> None:
    here = world(replace(node("n1", availability=before), drain_by=NOW))
    for changes in (wishes.mark_node(here, "n1", healthy), wishes.register_node(here, "n1", healthy, "", NOW)):
        found = [one.after.drain_by for one in changes if isinstance(one.after, Node)]
        assert found == ([] if kept else [None])


@pytest.mark.parametrize(
    ("before", "kept"), [(Availability.ACTIVE, False), (Availability.PAUSED, False), (Availability.DRAINED, True)]
)
def test_who_is_dismissed_has_the_deadline_of_the_drain_that_goes_on(before: Availability, kept: bool) -> None:
    """Another would be over long ago, and have every task stopped at once."""
    (change,) = wishes.dismiss_node(world(replace(node("n1", availability=before), drain_by=NOW)), "n1")
    assert isinstance(change.after, Node)
    assert change.after.drain_by == (NOW if kept else None)


def test_a_node_that_is_registered_again_keeps_its_address_until_another_is_given() -> None:
    known = replace(BY_HAND, dial="10.0.0.9:7441")
    assert wishes.register_node(world(known), "n9", True, "", NOW) == []
    (change,) = wishes.register_node(world(known), "n9", True, "10.0.0.10:7441", NOW)
    assert isinstance(change.after, Node)
    assert change.after.dial == "10.0.0.10:7441"


@pytest.mark.parametrize("dial", ["10.0.0.9", "http://10.0.0.9:80", "a b:80", "10.0.0.9:80/x", "user@host:80", ":80"])
def test_what_is_no_address_is_not_dialled(dial: str) -> None:
    with pytest.raises(Invalid, match="HOST:PORT"):
        wishes.register_node(world(), "n9", True, dial, NOW)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([BY_HAND], ["-n9"], id="without a worker: at once"),
        pytest.param([node("n9")], ["n9 ready"], id="ready: it leaves first"),
        pytest.param([node("n9", availability=Availability.LEAVING)], [], id="leaving already"),
        pytest.param(
            [node("n9", status=NodeStatus.DOWN), service(), task(on="n9")],
            ["n9 down"],
            id="down with tasks that are not lost yet",
        ),
    ],
)
def test_a_node_is_dismissed(records: list[Any], expected: list[str]) -> None:
    assert said(wishes.dismiss_node(world(*records), "n9")) == expected


def test_a_node_that_does_not_exist_is_neither_marked_nor_dismissed() -> None:
    with pytest.raises(NotFound):
        wishes.mark_node(world(), "n9", True)
    with pytest.raises(NotFound):
        wishes.dismiss_node(world(), "n9")


@pytest.mark.parametrize(
    ("availability", "deadline_s", "expected"),
    [
        (Availability.DRAINED, None, None),
        (Availability.DRAINED, 60.0, NOW + 60.0),
        (Availability.LEAVING, 0.0, NOW),
    ],
)
def test_a_node_has_until_its_deadline(
    availability: Availability, deadline_s: float | None, expected: float | None
) -> None:
    patch = NodePatch(availability=availability, deadline_s=deadline_s)
    (change,) = wishes.patch_node(world(node("n1")), "n1", patch, NOW)
    assert isinstance(change.after, Node)
    assert change.after.drain_by == expected


def test_a_node_that_gives_up_already_is_given_a_deadline() -> None:
    draining = node("n1", availability=Availability.DRAINED)
    (change,) = wishes.patch_node(world(draining), "n1", NodePatch(deadline_s=60.0), NOW)
    assert isinstance(change.after, Node)
    assert (change.after.availability, change.after.drain_by) == (Availability.DRAINED, NOW + 60.0)
    assert change.message == "deadline"
    with pytest.raises(Invalid, match="gives its tasks up"):
        wishes.patch_node(world(node("n1")), "n1", NodePatch(deadline_s=60.0), NOW)


@pytest.mark.parametrize(
    ("availability", "deadline_s", "words"),
    [
        (Availability.ACTIVE, 5.0, "gives its tasks up"),
        (Availability.DRAINED, -1.0, "seconds away"),
        (Availability.DRAINED, float("nan"), "seconds away"),
    ],
)
def test_deadlines_that_make_no_sense(availability: Availability, deadline_s: float, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        wishes.patch_node(world(node("n1")), "n1", NodePatch(availability=availability, deadline_s=deadline_s), NOW)


# -- rollouts


def release(number: int, phase: ReleasePhase = ReleasePhase.DONE, **fields: Any) -> Release:
    return Release(service="web", number=number, spec=replace(WEB.spec, image=f"web:{number}"), phase=phase, **fields)


THIRD = replace(WEB, release=3, spec=replace(WEB.spec, image="web:3", replicas=7))
ANEW = replace(THIRD, created_at=NOW)
"""Of a name whose service was removed a moment ago, with two releases whose tasks still go."""
KEPT = (release(1, finished_at=1.0), release(2, finished_at=2.0), release(3, ReleasePhase.FAILED))


@pytest.mark.parametrize(("to", "image", "number"), [(None, "web:2", 2), (1, "web:1", 1)])
def test_back_to_a_release_that_was_done(to: int | None, image: str, number: int) -> None:
    changes = wishes.roll_back(world(THIRD, *KEPT), "web", to, NOW)
    service_after, release_after = changes[0].after, changes[1].after
    assert isinstance(service_after, Service)
    assert isinstance(release_after, Release)
    assert (service_after.release, service_after.spec.image, service_after.spec.replicas) == (number, image, 7)
    assert (release_after.phase, release_after.rolls_back, release_after.resumed_at) == (ReleasePhase.ROLLING, 0, NOW)


@pytest.mark.parametrize(
    ("records", "to", "failure", "words"),
    [
        ((THIRD, release(3)), None, Conflict, "no other release"),
        ((THIRD, *KEPT), 9, NotFound, "kept are 1, 2"),
        ((THIRD, *KEPT), 3, Invalid, "at release 3 already"),
        ((), None, NotFound, "no service"),
        ((ANEW, *KEPT[:2], release(3, created_at=NOW)), None, Conflict, "kept are none"),
        ((ANEW, *KEPT[:2], release(3, created_at=NOW)), 2, NotFound, "kept are none"),
    ],
)
def test_what_cannot_be_gone_back_to(records: Any, to: int | None, failure: type[Failure], words: str) -> None:
    with pytest.raises(failure, match=words):
        wishes.roll_back(world(*records), "web", to, NOW)


def test_a_rollout_is_paused_and_resumed() -> None:
    rolling, paused = release(3, ReleasePhase.ROLLING), release(3, ReleasePhase.PAUSED, failed_slots=(1,))
    (change,) = wishes.pause_rollout(world(THIRD, rolling), "web")
    assert isinstance(change.after, Release)
    assert change.after.phase is ReleasePhase.PAUSED
    assert wishes.pause_rollout(world(THIRD, paused), "web") == []
    (change,) = wishes.resume_rollout(world(THIRD, paused), "web", NOW)
    assert isinstance(change.after, Release)
    assert (change.after.phase, change.after.failed_slots, change.after.resumed_at) == (ReleasePhase.ROLLING, (), NOW)
    assert wishes.resume_rollout(world(THIRD, rolling), "web", NOW) == []
    with pytest.raises(Conflict, match="is done"):
        wishes.pause_rollout(world(THIRD, release(3)), "web")
    with pytest.raises(Conflict, match="is done"):
        wishes.resume_rollout(world(THIRD, release(3)), "web", NOW)
