"""How an app gets its name, and where its variables come from."""

from pathlib import Path

import pytest

from longshore.compose import load
from longshore.model.errors import Invalid

TEXT = "services: {web: {image: 'i:${COMPOSE_PROJECT_NAME}'}}\nvolumes: {v: }\n"


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "compose.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("shop", "shop"),
        ("My Shop", "myshop"),
        ("My.Shop_2-b", "myshop_2-b"),
        ("_-x", "x"),
        ("Ünï", "n"),
        ("1st", "1st"),
    ],
)
def test_from_the_folder_as_compose_does(tmp_path: Path, folder: str, name: str) -> None:
    app = load(write(tmp_path / folder, TEXT), env={})
    assert app.name == name
    assert app.volumes == {"v": f"{name}_v"}
    assert app.services["web"].image == f"i:{name}"


def test_from_the_folder_of_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "shop", TEXT)
    (tmp_path / "shop" / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "shop")
    for folder, file, name in (
        ("shop", "compose.yaml", "shop"),
        ("shop/deep", "../compose.yaml", "shop"),
        ("shop", "../link/compose.yaml", "link"),
    ):
        monkeypatch.chdir(tmp_path / folder)
        assert load(Path(file), env={}).name == name


def test_the_first_that_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "folder", f"name: ${{X:-written}}\n{TEXT}")
    assert load(file, env={}).name == "written"
    assert load(file, env={"X": "filled"}).name == "filled"
    assert load(file, env={"COMPOSE_PROJECT_NAME": "environment"}).name == "environment"
    (file.parent / ".env").write_text("COMPOSE_PROJECT_NAME=dotenv\n")
    assert load(file, env={}).name == "dotenv"
    assert load(file, env={"COMPOSE_PROJECT_NAME": "environment"}).name == "environment"
    app = load(file, env={"COMPOSE_PROJECT_NAME": "environment"}, project="flag")
    assert (app.name, app.services["web"].image) == ("flag", "i:flag")


def test_names_that_will_not_do(tmp_path: Path) -> None:
    file = write(tmp_path / "___", f"\nname: My App\n{TEXT}")
    with pytest.raises(Invalid, match=r"compose.yaml:2: name: 'My App' will not do as a name; use small letters"):
        load(file, env={})
    with pytest.raises(Invalid, match="project 'A' will not do as a name") as caught:
        load(file, env={}, project="A")
    assert caught.value.field == "project"
    with pytest.raises(Invalid, match="project '' will not do"):
        load(file, env={}, project="")
    with pytest.raises(Invalid, match="COMPOSE_PROJECT_NAME '-' will not do"):
        load(file, env={"COMPOSE_PROJECT_NAME": "-"})
    with pytest.raises(Invalid, match="the folder '___' gives no name for the app; write name:"):
        load(write(tmp_path / "___", TEXT), env={})


def test_the_environment_wins_over_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\nC=${A}\n")
    text = "services: {web: {image: i, environment: {A: , B: , C: , D: $A}}}"
    app = load(write(tmp_path, text), env={"A": "user"}, project="p")
    assert app.services["web"].env == {"A": "user", "B": "file", "C": "user", "D": "user"}


def test_a_folder_named_dotenv_is_no_file_of_variables(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load(write(tmp_path, TEXT), env={}, project="p").name == "p"


def test_a_fault_in_dotenv_has_its_own_file_and_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nB=$NOPE\n")
    with pytest.raises(Invalid) as caught:
        load(write(tmp_path, TEXT), env={}, project="p")
    assert caught.value.message.startswith(f"{tmp_path}/.env:2: variable NOPE is not set")
