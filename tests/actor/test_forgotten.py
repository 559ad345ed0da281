"""An actor that is gone stays gone: no command draws them, each says so in one line, and nothing half made is
left.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import write_wav

from visualdub import dub
from visualdub import storage as cache
from visualdub.actor import Actor, load_actor
from visualdub.cli import run
from visualdub.dub import Output
from visualdub.edit import plan_shot
from visualdub.errors import ActorError

pytestmark = pytest.mark.slow  # the module's fixtures take seconds themselves

Removal = Callable[[Path], None]


def forgotten(folder: Path) -> None:
    """`vdub actor forget`."""
    assert run(["actor", "forget", str(folder), "--yes"]) == 0


def deleted(folder: Path) -> None:
    """The folder deleted by hand."""
    shutil.rmtree(folder)


@pytest.fixture
def ada(flat_actor: Path, tmp_path: Path) -> Path:
    """An actor of the test's own."""
    folder: Path = shutil.copytree(flat_actor, tmp_path / "actors" / "ada.actor")
    return folder


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """A second of new dialogue."""
    return write_wav(tmp_path / "new.wav", 1.0)


def dub_arguments(clip: Path, wav: Path, actor: str, output: Path) -> list[str]:
    return ["dub", str(clip), "--dialogue", str(wav), "--actor", actor, "-o", str(output)]


@pytest.fixture
def made(talking: Path, ada: Path, wav: Path, tmp_path: Path) -> Path:
    """A movie dubbed while the actor was still there, in a folder of its own."""
    (tmp_path / "before").mkdir()
    movie = tmp_path / "before" / "out.mkv"
    assert run(dub_arguments(talking, wav, str(ada), movie)) == 0
    return movie


def one_line(text: str, name: str) -> None:
    """What a failure may say."""
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("vdub: ") and name in lines[0] and "Traceback" not in text


@pytest.mark.parametrize("remove", [forgotten, deleted])
def test_a_dub_by_path_or_name_fails_in_one_line(
    remove: Removal,
    talking: Path,
    ada: Path,
    wav: Path,
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = {p: p.read_bytes() for p in made.parent.iterdir()}
    assert made in before
    remove(ada)
    assert not ada.exists()
    monkeypatch.chdir(ada.parent)
    (tmp_path / "after").mkdir()
    for asked in (str(ada), "ada"):
        capsys.readouterr()
        assert run(dub_arguments(talking, wav, asked, tmp_path / "after" / "out.mkv")) == 2
        said = capsys.readouterr()
        one_line(said.err, "ada")
        assert said.out == ""
    assert not list((tmp_path / "after").iterdir())
    assert {
        p: p.read_bytes() for p in made.parent.iterdir()
    } == before  # what was made with consent is the user's own


@pytest.mark.parametrize("remove", [forgotten, deleted])
@pytest.mark.parametrize("command", ["reenact", "evaluate", "show", "withdraw", "forget"])
def test_every_command_that_names_the_actor_says_so(
    command: str,
    remove: Removal,
    talking: Path,
    ada: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    remove(ada)
    out = tmp_path / "after.mkv"
    drawing = [command, str(talking), "--actor", str(ada), "--frames", "0:10"]
    arguments = {"reenact": [*drawing, "-o", str(out)], "evaluate": [*drawing, "--json", str(out)]}
    capsys.readouterr()
    assert run(arguments.get(command, ["actor", command, str(ada)])) == 2
    one_line(capsys.readouterr().err, "ada.actor")
    assert not out.exists()


@pytest.mark.parametrize("remove", [forgotten, deleted])
def test_an_open_renderer_neither_keeps_the_folder_nor_the_name(
    remove: Removal, talking: Path, ada: Path, wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = load_actor(ada)
    assert held.renderer.window == 5  # a session, open
    remove(ada)
    assert not ada.exists()
    capsys.readouterr()
    assert run(dub_arguments(talking, wav, str(ada), tmp_path / "out.mkv")) == 2
    one_line(capsys.readouterr().err, "ada.actor")
    assert not list(tmp_path.glob("*out.mkv*"))
    with pytest.raises(ActorError, match=r"ada\.actor"):
        load_actor(ada)


@pytest.mark.parametrize("remove", [forgotten, deleted])
def test_an_actor_read_before_draws_nothing_after(
    remove: Removal, talking: Path, ada: Path, wav: Path, tmp_path: Path
) -> None:
    """Its record is in memory, its renderer is not."""
    held: Actor = load_actor(ada)
    shot = dub.track_shot(plan_shot(talking))
    remove(ada)
    with pytest.raises(ActorError, match=r"ada\.actor.*is missing"):
        dub.dub_shot(shot, wav, held, Output(tmp_path / "out.mkv"))
    assert not list(tmp_path.glob("*out.mkv*"))


def test_forgetting_leaves_nothing_of_the_person(ada: Path, made: Path) -> None:
    """The track of the dubbed clip, which is the clip the actor was adapted to, goes with the package."""
    source = load_actor(ada).record.frames[0].source_hash
    assert list(cache.entries_of(source))
    (ada.parent / "ada.run").mkdir()
    forgotten(ada)
    assert not list(cache.entries_of(source))
    assert not list(ada.parent.iterdir())


def test_another_process_says_the_same(talking: Path, ada: Path, wav: Path, tmp_path: Path) -> None:
    deleted(ada)
    command = [
        sys.executable,
        "-m",
        "visualdub.cli",
        *dub_arguments(talking, wav, str(ada), tmp_path / "out.mkv"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and done.stdout == ""
    one_line(done.stderr, "ada.actor")
    assert not (tmp_path / "out.mkv").exists()
