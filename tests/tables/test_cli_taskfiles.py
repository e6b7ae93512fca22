"""Files with tasks to post: what each form becomes, and where a wrong one is told to be wrong."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from longshore.cli.taskfiles import read_file, read_tasks
from longshore.model.errors import Invalid

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ID = "bb1d59ef-9fc1-4e4b-a44d-db571eeed203"


def bodies(text: str) -> list[Any]:
    return [msgspec.json.decode(one.body) for one in read_tasks("f.json", text.encode(), NOW)]


def test_a_task_without_an_id_becomes_an_event_with_two() -> None:
    (posting,) = read_tasks("f.json", b'[{"Name": "a", "Image": "nginx:1", "Cpu": 0.5}]', NOW)
    event = msgspec.json.decode(posting.body)
    assert UUID(event["ID"]) != UUID(event["Task"]["ID"])
    assert (posting.id, posting.name) == (event["Task"]["ID"], "a")
    assert (event["State"], event["Task"]["State"]) == (1, 1)
    assert event["Timestamp"] == "2026-01-31T12:00:00Z"
    assert {key: event["Task"][key] for key in ("Name", "Image", "Cpu")} == {
        "Name": "a",
        "Image": "nginx:1",
        "Cpu": 0.5,
    }


@pytest.mark.parametrize("key", ["ID", "Id", "id"])
def test_an_id_is_kept_however_it_is_spelled(key: str) -> None:
    (posting,) = read_tasks("f.json", msgspec.json.encode({key: ID, "Image": "a"}), NOW)
    assert posting.id == ID
    assert msgspec.json.decode(posting.body)["Task"] == {key: ID, "Image": "a", "State": 1}


@pytest.mark.parametrize("empty", ['""', "null", '"00000000-0000-0000-0000-000000000000"'])
def test_an_empty_id_is_none(empty: str) -> None:
    (event,) = bodies(f'{{"Id": {empty}, "image": "a"}}')
    assert "Id" not in event["Task"]
    assert UUID(event["Task"]["ID"]).version == 4


def test_what_the_client_does_not_know_is_passed_on() -> None:
    (event,) = bodies('{"Image": "a", "Env": {"A": ["1"]}, "State": 2, "Priority": 1.50}')
    task = event["Task"]
    assert (task["Env"], task["State"], task["Priority"]) == ({"A": ["1"]}, 2, 1.5)


def test_ports_as_a_list_go_in_a_file_of_one() -> None:
    (whole,) = bodies('[{"Name": "a", "Image": "b", "ExposedPorts": ["127.0.0.1:8000-8002:80-82/udp", "80"]}]')
    assert [task["ExposedPorts"] for task in whole] == [["127.0.0.1:8000-8002:80-82/udp", "80"]]
    assert UUID(whole[0]["ID"]).version == 4


def test_ports_as_an_object_go_in_an_event() -> None:
    (event,) = bodies('{"Image": "b", "ExposedPorts": {"80/tcp": {}}, "PortBindings": {"80/tcp": "8080"}}')
    assert event["Task"]["ExposedPorts"] == {"80/tcp": {}}


def test_an_event_goes_as_it_is() -> None:
    text = f'  {{"ID": "x", "State": 3, "Task": {{"ID":"{ID}", "Name": "a", "State": 3}}}}\n'
    (posting,) = read_tasks("f.json", text.encode(), NOW)
    assert (posting.id, posting.name, posting.body.decode()) == (ID, "a", text.strip())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f.json:1: Input data was truncated"),
        ("[\n{", "f.json:2: Input data was truncated"),
        ('[\n{"Image": "a"},\n]', "f.json:3: JSON is malformed: trailing comma in array"),
        ('{"Image": "a",\n"Name": nope}', "f.json:2: JSON is malformed: invalid character"),
        ("[]", "f.json:1: the array has no task in it; write one object for each task"),
        ("\n[\n]\n", "f.json:4: the array has no task in it; write one object for each task"),
        ('"nginx"', 'f.json:1: a task is an object such as {"Name": …, "Image": …}'),
        ('[\n {"Image": "a"},\n 7\n]', 'f.json:3: a task is an object such as {"Name": …, "Image": …}'),
        ('[\n {"Image": "a"},\n {"Name": "b"}\n]', "f.json:3: task b has no Image"),
        ('[{"Image": "a"},\n\n{"Image": "a"},\n{"Name": "a"}]', "f.json:4: task a has no Image"),
        ('{"Image": 7}', "f.json:1: Image of a task is not a text"),
        ('{"Name": "b", "image": "a", "memory": "64m"}', "f.json:1: memory of task b is not a whole number of bytes"),
        ('{"Image": "a", "Cpu": "1"}', "f.json:1: Cpu of a task is not a number of cores"),
        (
            '{"Image": "a", "ExposedPorts": [80]}',
            'f.json:1: ExposedPorts of a task is not a list of ports such as "80/tcp", or an object with them',
        ),
        (
            '{"Image": "a", "PortBindings": ["80"]}',
            'f.json:1: PortBindings of a task is not an object such as {"80/tcp": "8080"}',
        ),
        ('{"Task": 7}', 'f.json:1: the Task of an event is an object such as {"Name": …, "Image": …}'),
        ('{"Task": {"Name": 7}}', "f.json:1: Name of a task is not a text"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_tasks("f.json", text.encode(), NOW)
    assert caught.value.message == told


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(Invalid, match=r"f\.json:2: "):
        read_tasks("f.json", b'{"Image":\n"\xff"}', NOW)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"there is no file .*gone\.json"):
        read_file(str(tmp_path / "gone.json"))
    with pytest.raises(Invalid, match=r"cannot read .*Is a directory"):
        read_file(str(tmp_path))
