"""What every engine promises: one suite for the fake and the real one, a test or more for each sentence of the port.

Knows `ports.Engine` and nothing of an implementation; what only a real engine can show is in `test_docker`, the fake's
faults are in `test_fake`.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from time import monotonic

import msgspec
import pytest

from longshore.engine.limits import PROGRAMS_MAX
from longshore.model.containers import ContainerOrder, Health, LogLine, Status
from longshore.model.errors import NotFound, PortTaken, Refused, Unavailable
from longshore.model.objects import PublishedPort
from longshore.model.spec import HealthCheck, Limits, Mount, MountKind, Pull, Resources, ServiceSpec
from longshore.ports import Engine
from tests.engines import (
    DEMO,
    NODE,
    NOWHERE,
    Connect,
    Orders,
    connect,
    ended,
    engine,
    exited,
    heard,
    machine,
    orders,
    skip_unless_local,
    started,
    until,
)

__all__ = ["connect", "engine", "machine", "orders"]

SERVER = ServiceSpec(image=DEMO)


def with_spec(order: ContainerOrder, **changes: object) -> ContainerOrder:
    return msgspec.structs.replace(order, spec=msgspec.structs.replace(order.spec, **changes))


async def all_of(lines: AsyncIterator[LogLine]) -> list[str]:
    return [line.text async for line in lines]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class TestDescribe:
    """What it is and what it has."""

    async def test_tells_the_same_each_time(self, engine: Engine, connect: Connect) -> None:
        facts, capacity = await engine.describe()
        assert facts.id
        assert facts.name
        assert facts.version
        assert facts.architecture == "amd64" or facts.architecture.startswith("arm")
        assert capacity.cpu >= 1
        assert capacity.memory > 2**28
        assert (facts, capacity) == await connect().describe()

    async def test_ping_is_answered(self, engine: Engine) -> None:
        await engine.ping()


class TestContainers:
    """All containers that carry these labels, in any state."""

    async def test_lists_every_state(self, engine: Engine, orders: Orders) -> None:
        created, running, done = orders(), orders(), orders("exit 3")
        ids = [(await engine.create(created)).id, await started(engine, running), await started(engine, done)]
        await until(engine, orders, ids[2], exited)
        found = {one.id: one for one in await engine.containers(orders.cluster, NODE)}
        assert [found[id].status for id in ids] == [Status.CREATED, Status.RUNNING, Status.EXITED]
        assert [found[id].task for id in ids] == [created.task, running.task, done.task]
        assert [found[id].fingerprint for id in ids] == [created.fingerprint, running.fingerprint, done.fingerprint]
        assert [found[id].exit_code for id in ids] == [None, None, 3]
        assert len(found) == 3

    async def test_the_list_says_the_same_as_a_look_at_each(self, engine: Engine, orders: Orders) -> None:
        await engine.create(orders())
        await started(engine, orders())
        await ended(engine, orders, orders("exit 3"))
        with pytest.raises(Refused):
            await started(engine, orders("missing-program", "an argument"))
        found = await engine.containers(orders.cluster, NODE)
        assert len(found) == 4
        assert [await engine.container(one.id) for one in found] == list(found)

    async def test_one_has_an_address_while_it_runs(self, engine: Engine, orders: Orders) -> None:
        id = (await engine.create(orders())).id
        addresses = []
        for change in (None, engine.start(id), engine.stop(id, 1.0)):
            if change is not None:
                await change
            seen = await engine.container(id)
            assert seen is not None
            addresses.append((bool(seen.address), bool(seen.gateway)))
        assert addresses == [(False, False), (True, True), (False, False)]

    async def test_other_clusters_and_nodes_are_not_seen(self, engine: Engine, orders: Orders) -> None:
        here, there = (await engine.create(orders())).id, (await engine.create(orders(node="n2"))).id
        assert [one.id for one in await engine.containers(orders.cluster, NODE)] == [here]
        assert [one.id for one in await engine.containers(orders.cluster, "n2")] == [there]
        assert await engine.containers(f"{orders.cluster}-other", NODE) == []

    async def test_one_that_does_not_exist(self, engine: Engine) -> None:
        assert await engine.container("0123456789ab" * 5) is None

    async def test_labels_of_the_user_do_not_hide_a_container(self, engine: Engine, orders: Orders) -> None:
        labels = {"longshore.cluster": "x", "longshore.task": "x", "longshore.spec": "x", "mine": "kept"}
        order = with_spec(orders(), labels=labels)
        id = (await engine.create(order)).id
        (found,) = await engine.containers(orders.cluster, NODE)
        assert (found.id, found.task, found.fingerprint) == (id, order.task, order.fingerprint)


class TestPrepare:
    """Have the image. Raises Refused with the engine's or registry's own words if it cannot be had."""

    @pytest.mark.parametrize("pull", [Pull.MISSING, Pull.NEVER])
    async def test_one_that_is_there(self, engine: Engine, pull: Pull) -> None:
        await engine.prepare(DEMO, pull)

    @pytest.mark.parametrize("pull", [Pull.MISSING, Pull.ALWAYS, Pull.NEVER])
    async def test_one_that_cannot_be_had(self, engine: Engine, pull: Pull) -> None:
        with pytest.raises(Refused) as refused:
            await engine.prepare(NOWHERE, pull)
        assert "No such image" in refused.value.message if pull is Pull.NEVER else len(refused.value.message) > 10

    async def test_never_does_not_pull(self, engine: Engine) -> None:
        with pytest.raises(Refused, match="No such image"):
            await engine.prepare("longshore/not-here:1", Pull.NEVER)


class TestCreate:
    """Make a container and return its id; if one of that name is there already with the same fingerprint, that one's.
    Raises Refused with the engine's own words."""

    async def test_it_is_made_and_not_started(self, engine: Engine, orders: Orders) -> None:
        seen = await engine.container((await engine.create(orders())).id)
        assert seen is not None
        assert (seen.status, seen.exit_code, seen.error, seen.health) == (Status.CREATED, None, "", Health.NONE)

    async def test_twice_is_once(self, engine: Engine, orders: Orders) -> None:
        order = orders()
        assert (await engine.create(order)).id == (await engine.create(order)).id
        assert len(await engine.containers(orders.cluster, NODE)) == 1

    async def test_at_once_is_once_too(self, engine: Engine, orders: Orders, connect: Connect) -> None:
        order = orders()
        made = await asyncio.gather(*(client.create(order) for client in (engine, connect(), connect())))
        assert len({one.id for one in made}) == 1

    async def test_one_that_has_run_is_told_as_it_is(self, engine: Engine, orders: Orders) -> None:
        """Whoever makes one whose place is taken learns that it is not new: it is not to be started once more."""
        order = orders("exit 3")
        assert (await engine.create(order)).status is Status.CREATED
        done = await ended(engine, orders, order)
        assert await engine.create(order) == done
        assert (done.status, done.exit_code) == (Status.EXITED, 3)

    async def test_the_name_of_another(self, engine: Engine, orders: Orders) -> None:
        first = orders()
        await engine.create(first)
        with pytest.raises(Refused, match="already in use"):
            await engine.create(msgspec.structs.replace(first, fingerprint="f" * 16))

    async def test_the_name_of_one_that_was_removed(self, engine: Engine, orders: Orders) -> None:
        order = orders()
        first = (await engine.create(order)).id
        await engine.remove(first)
        assert (await engine.create(order)).id != first

    async def test_an_image_that_is_not_there(self, engine: Engine, orders: Orders) -> None:
        with pytest.raises(Refused, match="No such image"):
            await engine.create(with_spec(orders(), image="longshore/not-here:1"))

    async def test_a_bind_without_a_source(self, engine: Engine, orders: Orders) -> None:
        mount = Mount(kind=MountKind.BIND, source="/missing/for/certain", target="/there")
        with pytest.raises(Refused, match="bind source path does not exist"):
            await engine.create(with_spec(orders(), mounts=(mount,)))


class TestStart:
    """Start it; nothing happens if it runs. Raises PortTaken or Refused with the engine's own words, NotFound."""

    async def test_it_runs(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders())
        await engine.start(id)
        seen = await engine.container(id)
        assert seen is not None
        assert (seen.status, seen.exit_code) == (Status.RUNNING, None)

    async def test_a_port_that_another_container_has(self, engine: Engine, orders: Orders) -> None:
        ports = (PublishedPort(container=8080, host=free_port(), ip="127.0.0.1"),)
        first = await started(engine, orders(ports=ports))
        second = (await engine.create(orders(ports=ports))).id
        with pytest.raises(PortTaken, match=str(ports[0].host)):
            await engine.start(second)
        seen = await engine.container(second)
        assert seen is not None
        assert seen.status is Status.CREATED
        assert str(ports[0].host) in seen.error or "already allocated" in seen.error
        await engine.stop(first, 5)
        await engine.start(second)

    async def test_a_program_that_is_not_there(self, engine: Engine, orders: Orders) -> None:
        id = (await engine.create(orders("missing-program", "an argument"))).id
        with pytest.raises(Refused, match="executable file not found") as refused:
            await engine.start(id)
        assert not isinstance(refused.value, PortTaken)
        seen = await engine.container(id)
        assert seen is not None
        assert (seen.status, seen.exit_code) == (Status.CREATED, None)
        assert "executable file not found" in seen.error

    async def test_one_that_does_not_exist(self, engine: Engine, orders: Orders) -> None:
        id = (await engine.create(orders())).id
        await engine.remove(id)
        with pytest.raises(NotFound):
            await engine.start(id)

    async def test_given_up_it_is_done_or_not_but_can_be_asked_again(self, engine: Engine, orders: Orders) -> None:
        id = (await engine.create(orders())).id
        starting = asyncio.create_task(engine.start(id))
        await engine.ping()
        starting.cancel()
        await asyncio.wait([starting])
        await engine.start(id)
        seen = await engine.container(id)
        assert seen is not None
        assert seen.status is Status.RUNNING


class TestEnds:
    """How a container's own end is seen."""

    @pytest.mark.parametrize(
        ("command", "code"), [(("true", ""), 0), (("false", ""), 1), (("exit 7",), 7), (("sleep", "0.1"), 0)]
    )
    async def test_exit_codes(self, engine: Engine, orders: Orders, command: tuple[str, ...], code: int) -> None:
        seen = await ended(engine, orders, orders(*command))
        assert (seen.exit_code, seen.oom_killed, seen.error, seen.health) == (code, False, "", Health.NONE)

    async def test_its_own_entrypoint(self, engine: Engine, orders: Orders) -> None:
        order = with_spec(orders(), entrypoint=("sh", "-c"), command=("exit 4",))
        assert (await ended(engine, orders, order)).exit_code == 4


class TestHealth:
    """The engine's own check."""

    async def test_passes(self, engine: Engine, orders: Orders) -> None:
        order = with_spec(orders(), health=HealthCheck(test=("CMD", "true"), interval_s=1))
        id = await started(engine, order)
        seen = await engine.container(id)
        assert seen is not None
        assert seen.health is Health.STARTING
        healthy = await until(engine, orders, id, lambda one: one.health is not Health.STARTING)
        assert (healthy.health, healthy.health_output) == (Health.HEALTHY, "")
        assert list(await engine.containers(orders.cluster, NODE)) == [healthy]

    async def test_fails(self, engine: Engine, orders: Orders) -> None:
        check = HealthCheck(test=("CMD-SHELL", "echo it is broken; exit 1"), interval_s=0.5, retries=2)
        id = await started(engine, with_spec(orders(), health=check))
        seen = await until(engine, orders, id, lambda one: one.health is Health.UNHEALTHY)
        assert seen.health_output == "it is broken"
        assert seen.status is Status.RUNNING
        (listed,) = await engine.containers(orders.cluster, NODE)
        assert (listed.health, listed.health_output) == (Health.UNHEALTHY, "it is broken")
        await engine.stop(id, 5)
        stopped = await engine.container(id)
        assert stopped is not None
        assert stopped.health is Health.NONE

    async def test_turned_off(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, with_spec(orders(), health=HealthCheck(test=("NONE",))))
        seen = await engine.container(id)
        assert seen is not None
        assert seen.health is Health.NONE


class TestStop:
    """Send its stop signal, wait for it to exit, kill it after `grace_s`. Nothing happens if it is gone or has
    stopped."""

    async def test_one_that_obeys(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders('trap "exit 3" TERM; echo ready; sleep 60 & wait'))
        await heard(engine, id, "ready")
        began = monotonic()
        await engine.stop(id, 10)
        assert monotonic() - began < 5
        seen = await engine.container(id)
        assert seen is not None
        assert (seen.status, seen.exit_code) == (Status.EXITED, 3)

    async def test_a_signal_of_its_own(self, engine: Engine, orders: Orders) -> None:
        order = with_spec(orders('trap "exit 5" USR1; echo ready; sleep 60 & wait'), stop_signal="SIGUSR1")
        id = await started(engine, order)
        await heard(engine, id, "ready")
        await engine.stop(id, 10)
        seen = await engine.container(id)
        assert seen is not None
        assert seen.exit_code == 5

    async def test_one_that_does_not_obey(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders("sleep", "60"))
        began = monotonic()
        await engine.stop(id, 1)
        assert 0.9 < monotonic() - began < 6
        seen = await engine.container(id)
        assert seen is not None
        assert (seen.status, seen.exit_code, seen.oom_killed) == (Status.EXITED, 137, False)

    async def test_others_are_answered_meanwhile(self, engine: Engine, orders: Orders) -> None:
        ids = [await started(engine, orders("sleep", "60")) for _ in range(3)]
        stops = [asyncio.create_task(engine.stop(id, 1)) for id in ids]
        await engine.ping()
        assert not any(stop.done() for stop in stops)
        await asyncio.gather(*stops)

    async def test_one_that_was_not_started_has_stopped_or_is_gone(self, engine: Engine, orders: Orders) -> None:
        id = (await engine.create(orders("sleep", "60"))).id
        await engine.stop(id, 10)
        await engine.start(id)
        await engine.stop(id, 0)
        before = await engine.container(id)
        await engine.stop(id, 10)
        assert await engine.container(id) == before
        await engine.remove(id)
        await engine.stop(id, 10)


class TestRemove:
    """Kill it if it runs, then remove it. Nothing happens if it is gone."""

    async def test_in_every_state(self, engine: Engine, orders: Orders) -> None:
        done = await ended(engine, orders, orders("exit 0"))
        ids = [(await engine.create(orders())).id, await started(engine, orders("sleep", "60")), done.id]
        for id in ids:
            await engine.remove(id)
            assert await engine.container(id) is None
            await engine.remove(id)
        assert await engine.containers(orders.cluster, NODE) == []

    async def test_at_once(self, engine: Engine, orders: Orders, connect: Connect) -> None:
        id = await started(engine, orders("sleep", "60"))
        await asyncio.gather(*(client.remove(id) for client in (engine, connect(), connect())))
        assert await engine.container(id) is None


class TestEvents:
    """Ids of containers with these labels to which something happened. First yields an empty string once it is
    listening, and again whenever something may have been missed. Ends only by raising Unavailable."""

    async def test_every_step_of_a_life(self, engine: Engine, orders: Orders) -> None:
        async with asyncio.timeout(20):
            events = engine.events(orders.cluster, NODE)
            assert await anext(events) == ""
            id = (await engine.create(orders())).id
            assert await anext(events) == id
            await engine.start(id)
            assert await anext(events) == id
            await engine.stop(id, 5)
            assert await anext(events) == id
            await engine.remove(id)
            assert await anext(events) == id

    async def test_an_end_that_nobody_asked_for(self, engine: Engine, orders: Orders) -> None:
        async with asyncio.timeout(20):
            id = (await engine.create(orders("sleep", "0.3"))).id
            events = engine.events(orders.cluster, NODE)
            assert await anext(events) == ""
            await engine.start(id)
            seen = await engine.container(id)
            while seen is not None and not exited(seen):
                assert await anext(events) in ("", id)
                seen = await engine.container(id)
            assert seen is not None

    async def test_only_of_those_labels(self, engine: Engine, orders: Orders) -> None:
        async with asyncio.timeout(20):
            events = engine.events(orders.cluster, "n2")
            assert await anext(events) == ""
            await started(engine, orders())
            there = (await engine.create(orders(node="n2"))).id
            assert await anext(events) == there

    async def test_what_came_before_is_in_the_list_that_follows_the_empty_string(
        self, engine: Engine, orders: Orders
    ) -> None:
        async with asyncio.timeout(20):
            ids = {(await engine.create(orders())).id for _ in range(5)}
            async for id in engine.events(orders.cluster, NODE):
                if not id:
                    assert {one.id for one in await engine.containers(orders.cluster, NODE)} == ids
                    return

    async def test_two_readers_hear_the_same(self, engine: Engine, orders: Orders, connect: Connect) -> None:
        async with asyncio.timeout(20):
            readers = [client.events(orders.cluster, NODE) for client in (engine, engine, connect())]
            assert [await anext(reader) for reader in readers] == ["", "", ""]
            id = (await engine.create(orders())).id
            assert [await anext(reader) for reader in readers] == [id, id, id]

    async def test_it_ends_with_its_client(self, engine: Engine, orders: Orders, connect: Connect) -> None:
        async with asyncio.timeout(20):
            client = connect()
            events = client.events(orders.cluster, NODE)
            assert await anext(events) == ""
            await client.close()
            with pytest.raises(Unavailable):
                await anext(events)


class TestExec:
    """Run a program in a running container, and wait for its end for so long from its start."""

    @pytest.mark.parametrize(
        ("command", "exit_code", "output"),
        [
            (("true",), 0, ""),
            (("false",), 1, ""),
            (("sh", "-c", "echo one >&2; exit 3"), 3, "one"),
            (("sh", "-c", "echo begun; sleep 0.3; echo done"), 0, "begun\ndone"),
        ],
    )
    async def test_it_ends(
        self, engine: Engine, orders: Orders, command: tuple[str, ...], exit_code: int, output: str
    ) -> None:
        ran = await engine.exec(await started(engine, orders()), command, 10.0)
        assert (ran.exit_code, ran.output) == (exit_code, output)

    async def test_one_that_cannot_be_started(self, engine: Engine, orders: Orders) -> None:
        ran = await engine.exec(await started(engine, orders()), ("missing-program",), 10.0)
        assert ran.exit_code in (126, 127)
        assert '"missing-program": executable file not found' in ran.output

    async def test_one_that_does_not_end_in_time_has_not_ended_well(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders())
        began = monotonic()
        ran = await engine.exec(id, ("sleep", "30"), 0.5)
        assert ran.exit_code is None
        assert 0.4 < monotonic() - began < 5
        assert (await engine.exec(id, ("true",), 10.0)).exit_code == 0

    async def test_those_that_never_end_do_not_pile_up(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders())
        hung = await asyncio.gather(*(engine.exec(id, ("sleep", "30"), 0.5) for _ in range(PROGRAMS_MAX)))
        assert {ran.exit_code for ran in hung} == {None}
        with pytest.raises(Refused, match="have not ended"):
            await engine.exec(id, ("true",), 10.0)
        other = await started(engine, orders())
        assert (await engine.exec(other, ("true",), 10.0)).exit_code == 0

    async def test_it_ends_with_its_container(self, engine: Engine, orders: Orders) -> None:
        ran = await engine.exec(await started(engine, orders("sleep 2")), ("sleep", "30"), 20.0)
        assert ran.exit_code == 137

    async def test_a_container_that_does_not_run(self, engine: Engine, orders: Orders) -> None:
        created, done = (await engine.create(orders())).id, await ended(engine, orders, orders("exit 0"))
        for id in (created, done.id, "0123456789ab" * 5):
            with pytest.raises(NotFound):
                await engine.exec(id, ("true",), 1.0)


class TestLogs:
    """Its log lines, oldest first: the last `tail` (None is all) after `since`; with `follow`, until it is removed or
    exits. Raises NotFound."""

    SCRIPT = "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three"

    async def test_all(self, engine: Engine, orders: Orders) -> None:
        seen = await ended(engine, orders, orders(self.SCRIPT))
        lines = [line async for line in engine.logs(seen.id, follow=False, tail=None, since=None)]
        assert [(line.stream, line.text) for line in lines] == [
            ("stdout", "one"),
            ("stderr", "two"),
            ("stdout", "three"),
        ]
        assert lines == sorted(lines, key=lambda line: line.at)
        assert lines[0].at < lines[1].at < lines[2].at

    async def test_of_one_that_runs(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders("echo one; sleep 60"))
        async with asyncio.timeout(20):
            async for line in engine.logs(id, follow=True, tail=None, since=None):
                assert line.text == "one"
                break
            assert await all_of(engine.logs(id, follow=False, tail=None, since=None)) == ["one"]

    @pytest.mark.parametrize(("tail", "expected"), [(0, []), (1, ["three"]), (2, ["two", "three"]), (9, None)])
    async def test_tail(self, engine: Engine, orders: Orders, tail: int, expected: list[str] | None) -> None:
        seen = await ended(engine, orders, orders("echo one; echo two; echo three"))
        texts = await all_of(engine.logs(seen.id, follow=False, tail=tail, since=None))
        assert texts == (["one", "two", "three"] if expected is None else expected)

    async def test_since_leaves_out_that_moment(self, engine: Engine, orders: Orders) -> None:
        seen = await ended(engine, orders, orders(self.SCRIPT))
        lines = [line async for line in engine.logs(seen.id, follow=False, tail=None, since=None)]
        for number, line in enumerate(lines, start=1):
            after = [one async for one in engine.logs(seen.id, follow=False, tail=None, since=line.at)]
            assert after == lines[number:]
        assert await all_of(engine.logs(seen.id, follow=False, tail=1, since=lines[0].at)) == ["three"]
        assert await all_of(engine.logs(seen.id, follow=False, tail=3, since=lines[1].at)) == ["three"]

    async def test_follow_until_it_exits(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders("echo one; sleep 0.3; echo two; sleep 0.3; echo three"))
        async with asyncio.timeout(20):
            texts = await all_of(engine.logs(id, follow=True, tail=None, since=None))
        assert texts == ["one", "two", "three"]

    async def test_follow_until_it_is_removed(self, engine: Engine, orders: Orders) -> None:
        id = await started(engine, orders("echo one; sleep 60"))
        async with asyncio.timeout(20):
            lines = engine.logs(id, follow=True, tail=None, since=None)
            assert (await anext(lines)).text == "one"
            await engine.remove(id)
            assert await all_of(lines) == []

    async def test_follow_one_that_has_exited(self, engine: Engine, orders: Orders) -> None:
        seen = await ended(engine, orders, orders("echo one"))
        async with asyncio.timeout(20):
            assert await all_of(engine.logs(seen.id, follow=True, tail=None, since=None)) == ["one"]

    async def test_of_one_that_does_not_exist(self, engine: Engine, orders: Orders) -> None:
        id = (await engine.create(orders())).id
        await engine.remove(id)
        with pytest.raises(NotFound):
            await anext(engine.logs(id, follow=False, tail=None, since=None))


class TestUsage:
    """(cpu seconds, bytes of memory) that these containers have used and use. Containers that are gone count as
    zero."""

    async def test_one_that_runs(self, engine: Engine, orders: Orders) -> None:
        skip_unless_local(engine)
        spec = ServiceSpec(image=DEMO, resources=Resources(cpu=0.1, memory=2**24), limits=Limits(memory=2**26))
        id = await started(engine, orders(spec=spec))
        cpu_s, memory = await engine.usage([id])
        assert 0 <= cpu_s < 5
        assert 0 < memory <= 2**26
        cpu_later_s, _ = await engine.usage([id])
        assert cpu_later_s >= cpu_s

    async def test_several_add_up(self, engine: Engine, orders: Orders) -> None:
        skip_unless_local(engine)
        first, second = await started(engine, orders()), await started(engine, orders())
        _, one = await engine.usage([first])
        _, both = await engine.usage([first, second])
        assert both > one

    async def test_nothing_gone_stopped_and_not_started(self, engine: Engine, orders: Orders) -> None:
        skip_unless_local(engine)
        assert await engine.usage([]) == (0.0, 0)
        created, stopped, gone = (await engine.create(orders())).id, await started(engine, orders()), "0" * 64
        await engine.stop(stopped, 5)
        assert (await engine.usage([created, stopped, gone]))[1] == 0
        await engine.start(created)
        assert (await engine.usage([created, stopped, gone]))[1] > 0
        await engine.remove(created)
        assert (await engine.usage([created, stopped, gone]))[1] == 0


class TestClose:
    """Give up connections. Containers are not touched."""

    async def test_containers_stay(self, engine: Engine, orders: Orders, connect: Connect) -> None:
        client = connect()
        id = await started(client, orders())
        await client.close()
        await client.close()
        seen = await engine.container(id)
        assert seen is not None
        assert seen.status is Status.RUNNING
        with pytest.raises(Unavailable):
            await client.ping()
