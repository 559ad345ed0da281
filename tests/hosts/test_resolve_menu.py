"""The menu entry as it is installed: its Python, its windows, and what is said where it cannot start."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from resolve_double import free_21_0, free_21_1, studio
from resolve_editing import add_line
from resolve_scene import DUB, RESTORE, Answers, plugin_folder

from plugin_resolve.browser import BrowserWindow
from plugin_resolve.edition import FREE, FREE_LUA, STUDIO, read_edition
from plugin_resolve.menu import main, resolve_of
from plugin_resolve.service import launch_command
from plugin_resolve.session import Question, read_settings, run, write_settings
from plugin_resolve.values import PLAYHEAD, SELECTED, Choices, TimelineInfo
from visualdub.cli import run as vdub
from visualdub.wire import Unreachable

ROOT = Path(__file__).resolve().parents[2]
INFO = TimelineInfo("line-1", "Cut", "Show", 90000, "25", ("Audio 1", "Dialogue FR", "Music"), True)


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The menu entry that `vdub install resolve` writes, and the plug-in's folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VISUALDUB_HOSTS", str(tmp_path / "hosts"))
    assert vdub(["install", "resolve"]) == 0
    scripts = tmp_path / ".local/share/DaVinciResolve/Fusion/Scripts"
    return scripts / "Edit" / "Visual Dub.py", tmp_path / "hosts" / "resolve"


# ---- three ways --------------------------------------------------------------------------------------------


def test_three_ways_are_told_apart_by_name_and_version() -> None:
    cases = {
        ("DaVinci Resolve Studio", (21, 1, 0)): STUDIO,
        ("DaVinci Resolve Studio", (19, 1, 3)): STUDIO,
        ("DaVinci Resolve", (21, 0, 4)): FREE,
        ("DaVinci Resolve", (21, 1, 0)): FREE_LUA,
        ("DaVinci Resolve", (22, 0, 0)): FREE_LUA,
    }
    assert {k: read_edition(*k).way for k in cases} == cases
    assert all(f"{'.'.join(map(str, v))}" in read_edition(n, v).sentence for n, v in cases)


def test_a_free_edition_without_python_is_told_the_way_by_files(tmp_path: Path) -> None:
    program = free_21_1()
    program.version = (21, 0, 3)  # as if a script were started from outside
    resolve = program.scripting()
    program.version = (21, 1, 0)
    window = Answers(tmp_path)
    run(resolve, window, plugin_folder(tmp_path))
    assert "vdub dub EDIT --for resolve" in window.problems[0]
    assert [name for _, name, _ in program.calls] == ["GetProductName", "GetVersion"] or {
        name for _, name, _ in program.calls
    } == {"GetProductName", "GetVersion"}


@pytest.mark.parametrize("edition", [studio, free_21_0])
def test_without_a_timeline_the_window_says_so(edition: Any, tmp_path: Path) -> None:
    program, window = edition(), Answers(tmp_path)
    run(program.scripting(), window, plugin_folder(tmp_path))
    assert window.problems == ["no timeline is open; open the one that is to be dubbed"]
    assert not program.dialog


def test_a_dialog_of_resolve_is_named_as_the_cause(tmp_path: Path) -> None:
    program, window = free_21_0(), Answers(tmp_path)
    add_line(program)
    program.dialog = True
    program.scripting().GetProductName()
    run(FewAnswers(program.scripting()), window, plugin_folder(tmp_path))
    assert "no project is open, or a dialog of Resolve waits" in window.problems[0]


class FewAnswers:
    """A Resolve with a dialog open: the product's name is answered, the manager says no project."""

    def __init__(self, resolve: Any) -> None:
        self._resolve = resolve

    def __getattr__(self, name: str) -> Any:
        if name == "GetProjectManager":
            return lambda: type("Manager", (), {"GetCurrentProject": staticmethod(lambda: None)})()
        return getattr(self._resolve, name)


def test_scripts_without_access_are_told_where_to_start(tmp_path: Path) -> None:
    window = Answers(tmp_path)
    run(None, window, plugin_folder(tmp_path))
    assert "Workspace > Scripts" in window.problems[0]
    asked = []

    class Bmd:
        @staticmethod
        def scriptapp(name: str) -> str:
            asked.append(name)
            return "the program"

    assert resolve_of({"resolve": 3}) == 3 and resolve_of({"bmd": Bmd}) == "the program"
    assert resolve_of({}) is None and asked == ["Resolve"]


def test_a_plugin_that_is_not_installed_whole_says_so(tmp_path: Path) -> None:
    program, window = studio(), Answers(tmp_path)
    add_line(program)
    run(program.scripting(), window, plugin_folder(tmp_path))
    assert "run vdub install resolve again" in window.problems[0]
    with pytest.raises(Unreachable):
        launch_command(tmp_path)


# ---- choices -----------------------------------------------------------------------------------------------


def test_the_last_choices_come_back_as_far_as_the_timeline_has_them(tmp_path: Path) -> None:
    first = read_settings(tmp_path, INFO, ["ada", "bob"])
    assert (first.scope, first.dialogue_track, first.actor) == (SELECTED, "Dialogue FR", "ada")
    write_settings(tmp_path, Choices(PLAYHEAD, "Music", "bob", "de", "/dubs"))
    again = read_settings(tmp_path, INFO, ["ada", "bob"])
    assert (again.dialogue_track, again.actor, again.language, again.folder) == (
        "Music",
        "bob",
        "de",
        "/dubs",
    )
    other = TimelineInfo("line-2", "B", "Show", 0, "25", ("Audio 1",), False)
    there = read_settings(tmp_path, other, ["cy"])
    assert (there.scope, there.dialogue_track, there.actor) == (PLAYHEAD, "Audio 1", "cy")
    (tmp_path / "settings.json").write_text(
        json.dumps({"dialogue_track": "Dialogue FR, Music", "actor": str(tmp_path), "ranges": "01:00:00:05"})
    )
    several = read_settings(tmp_path, INFO, [])
    assert (several.dialogue_track, several.ranges) == ("Dialogue FR, Music", "01:00:00:05")
    assert several.actor == str(tmp_path) and read_settings(tmp_path, other, []).dialogue_track == "Audio 1"
    write_settings(tmp_path, several)
    assert read_settings(tmp_path, INFO, []).ranges == ""  # they count once
    write_settings(tmp_path, Choices(PLAYHEAD, "Music", "", consent="Bob", quality="draft"))
    drafted = read_settings(tmp_path, INFO, [])
    assert (drafted.quality, drafted.consent) == ("draft", "")  # whose consent it was is not known
    (tmp_path / "settings.json").write_text(json.dumps({"consent": "Bob", "quality": "rough"}))
    written = read_settings(tmp_path, INFO, [])
    assert (written.quality, written.consent) == ("final", "Bob")
    write_settings(tmp_path, Choices(PLAYHEAD, "Music", ""))
    assert read_settings(tmp_path, INFO, ["ada", "bob"]).actor == ""  # whoever is recognised
    write_settings(tmp_path, Choices(PLAYHEAD, "Music", "", new_actor="bob", consent="Bob"))
    assert read_settings(tmp_path, INFO, ["ada", "bob"]).actor == "bob"
    (tmp_path / "settings.json").write_text("[nonsense")
    assert read_settings(tmp_path, other, []).actor == ""


def test_without_tk_pages_of_the_browser_tell_and_the_last_choices_count(tmp_path: Path) -> None:
    opened: list[str] = []
    window = BrowserWindow(tmp_path, opened.append)
    question = Question("The sentence.", INFO, ("ada",), (SELECTED,), Choices(SELECTED, "A", "ada"), 0)
    assert window.ask(question) == (DUB, question.last) and window.ask(question)[0] == "close"
    window.say("2 dubbed & <done>")
    page = (tmp_path / "message.html").read_text()
    assert opened == [(tmp_path / "message.html").as_uri()]
    assert (
        "<code>quality</code>" in page
        and "The sentence." in page
        and "2 dubbed &amp; &lt;done&gt;" in page
        and "settings.json" in page
    )
    (tmp_path / "settings.json").write_text(json.dumps({"do": "restore"}))
    assert BrowserWindow(tmp_path, opened.append).ask(question)[0] == RESTORE


# ---- the entry itself --------------------------------------------------------------------------------------


def older_python(name: str) -> str:
    found = sorted(Path.home().glob(f".pyenv/versions/{name.removeprefix('python')}*/bin/{name}"))
    path = str(found[0]) if found else shutil.which(name)
    if path is None or subprocess.run([path, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"there is no {name} here")
    return path


@pytest.mark.parametrize("name", ["python3.9", "python3.13"])
def test_the_entry_runs_in_the_hosts_python_and_what_cannot_start_says_so_in_a_window(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no Resolve behind it and no display: the browser is shown a page that says so."""
    python = older_python(name)
    entry, folder = installed(tmp_path, monkeypatch)
    shown = tmp_path / "shown"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{shown}"\n')
    browser.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BROWSER": f"{browser} %s"}
    done = subprocess.run(
        [python, "-S", str(entry)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert shown.read_text() == (folder / "message.html").as_uri()
    assert "Resolve gives its scripts no access" in (folder / "message.html").read_text()


def test_a_fault_is_said_in_a_window_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(
        "plugin_resolve.menu.open_window", lambda folder: BrowserWindow(folder, opened.append)
    )
    main({"resolve": object()}, str(tmp_path))
    page = (tmp_path / "message.html").read_text()
    assert "This is a fault of Visual Dub" in page and "AttributeError" in page and len(opened) == 1


# ---- the window of Tk --------------------------------------------------------------------------------------


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A screen of its own in memory; skips where there is no Xvfb or no Tk."""
    pytest.importorskip("tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb here, whose screen the window is shown on")
    reads, writes = os.pipe()
    command = ["Xvfb", "-displayfd", str(writes), "-screen", "0", "900x700x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=[writes], stderr=subprocess.DEVNULL)
    os.close(writes)
    try:
        with os.fdopen(reads) as said:
            number = said.readline().strip()
        assert number, "Xvfb does not start"
        monkeypatch.setenv("DISPLAY", f":{number}")
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(10)


USE_WINDOW = """
import json, sys
from plugin_resolve.session import Question
from plugin_resolve.values import Choices, TimelineInfo
from plugin_resolve.window import BY_FACE, NEW_ACTOR, TkWindow
info = TimelineInfo("l", "Cut", "Show", 90000, "25", ("Audio 1", "Dialogue FR"), True)
question = Question("Studio: in place.", info, ("ada", "bob"), ("selected", "playhead", "whole"),
                    Choices("selected", "Dialogue FR", "ada", "fr", "/dubs"), 1)
window = TkWindow()
told = []
def press(name):
    told.append(str(window._button[name]["state"]))
    window._button[name].invoke()
def choose(**values):
    for name, value in values.items():
        window._values[name].set(value)
states = []
look = lambda: states.append(str(window._fields["consent"]["state"]))
window.root.after(50, look)
chosen = {"scope": "the whole timeline", "actor": "bob", "language": "de", "ranges": " 01:00:00:05 "}
window.root.after(100, lambda: (choose(track="Dialogue FR, Bob", **chosen), press("Dub")))
told.append(window.ask(question)[1].__dict__)
told.append(window.progress("drawing", 0, 10))
window.root.after(100, lambda: press("Cancel"))
while window.progress("drawing", 1, 10):
    pass
window.root.after(100, lambda: (choose(actor=NEW_ACTOR, name="cy"), press("Dub")))
consent = "Cy, today, this film"
kept = []
window.root.after(600, lambda: (kept.append({k: v.get() for k, v in window._values.items()}),
                                look(), choose(consent=consent, minutes="2"), press("Dub")))
what, choices = window.ask(question)
told.append([what, choices.new_actor, choices.consent, choices.actor, choices.minutes])
told.append([kept[0]["actor"] == NEW_ACTOR, kept[0]["name"], *states])
drafts = []
state = lambda: drafts.append(str(window._fields["consent"]["state"]))
window.root.after(100, lambda: (choose(actor=BY_FACE), state(), choose(quality="draft"), state(),
                                choose(consent=consent), press("Dub")))
told.append({**window.ask(question)[1].__dict__, "states": drafts})
window.root.after(100, window._on_close)
told.append(window.ask(question)[0])
told.append(window._text.get("1.0", "end").strip())
window.close()
print(json.dumps(told))
"""


def test_the_window_asks_shows_progress_and_stops(display: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", USE_WINDOW], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told[0] == "normal"
    assert (told[1]["scope"], told[1]["actor"], told[1]["language"]) == ("whole", "bob", "de")
    assert (told[1]["ranges"], told[1]["dialogue_track"]) == ("01:00:00:05", "Dialogue FR, Bob")
    assert (told[1]["quality"], told[1]["consent"]) == ("final", "")
    assert told[2] is True and told[3] == "normal"
    drafted = next(t for t in told[2:] if isinstance(t, dict))
    assert (drafted["actor"], drafted["quality"]) == ("", "draft")
    assert drafted["consent"] == "Cy, today, this film" and drafted["states"] == ["disabled", "normal"]
    asked, kept = (t for t in told if isinstance(t, list))
    assert asked == [DUB, "cy", "Cy, today, this film", "", "2"] and kept == [
        True,
        "cy",
        "disabled",
        "normal",
    ]
    assert told[-2] == "close" and "A new actor needs a name, and who consented" in told[-1]


def test_the_page_for_artists_quotes_what_is_really_said() -> None:
    page = (ROOT / "docs" / "resolve.md").read_text(encoding="utf-8")
    table = page.split("## When it says")[1].split("\n## ")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(quoted) > 10
    sources = [*(ROOT / "plugin_resolve").glob("*.py"), ROOT / "daemon" / "access.py"]
    sources.append(ROOT / "visualdub" / "wire" / "client.py")
    sources += (ROOT / "visualdub" / "edit").glob("*.py")
    text = " ".join(p.read_text(encoding="utf-8") for p in sources)
    text = re.sub(r'"\s+f?"', "", text)  # texts that go on in the next line
    for said in quoted:
        assert said.replace("launch.json ", "") in text, said
