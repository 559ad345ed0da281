"""A project in the double of Resolve with a real movie and real dialogue, and a window that answers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers import write_wav
from resolve_double import Program
from resolve_editing import add_clip, add_line
from resolve_state import Take

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "daemon"))
from daemon_helpers import running, short_folder

from daemon.config import Config
from daemon.service import Service
from plugin_resolve.session import CLOSE, DUB, RESTORE, Question
from plugin_resolve.values import WHOLE, Choices

ROOT = Path(__file__).resolve().parents[2]
DIALOGUE = "Dialogue FR"
BRIDGE = "import sys; from daemon.commands import bridge; bridge(sys.argv[-1])"


def bridge_command() -> list[str]:
    """How a bridge is started here: `bridge` and --client NAME follow."""
    return [sys.executable, "-c", BRIDGE]


@dataclass
class Answers:
    """A window without a screen: it answers what it is told, and keeps what it was told."""

    folder: Path
    todo: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    actor: str = ""
    stop_at: int = 10**6  # how often progress is shown before the artist stops
    said: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    actors: tuple[str, ...] = ()  # that were offered last
    offered: list[Choices] = field(default_factory=list)  # what the form showed at each question
    stages: list[str] = field(default_factory=list)
    on_progress: Callable[[str], None] = lambda said: None
    wants_page: bool = False

    def ask(self, question: Question) -> tuple[str, Choices]:
        self.sentences.append(question.sentence)
        self.actors = question.actors
        self.offered.append(question.last)
        if not self.todo:
            return CLOSE, question.last
        what, more = self.todo.pop(0)
        usual = {"scope": WHOLE, "dialogue_track": DIALOGUE, "actor": self.actor, "folder": str(self.folder)}
        return what, Choices(**{**usual, **more})

    def progress(self, said: str, done: int, total: int) -> bool:
        self.stages.append(said)
        self.on_progress(said)
        return len(self.stages) < self.stop_at

    def say(self, text: str, problem: bool = False) -> None:
        (self.problems if problem else self.said).append(text)

    def show_page(self, address: str) -> None:
        self.said.append(address)


@dataclass
class Suite:
    """A service with a worker, in whose folders the media lie."""

    service: Service
    folder: Path
    clip: Path
    voice: Path
    actor: Path


@contextmanager
def suite_in(folder: Path, clip: Path, actor: Path, workers: int = 1) -> Iterator[Suite]:
    """Start a service; its address is where this process's clients and bridges look for it."""
    voice = write_wav(folder / "new words.wav", 1.6)
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        short = stack.enter_context(short_folder())
        patch.setenv("VISUALDUB_CACHE", str(folder / "cache"))
        patch.setenv("VISUALDUB_DAEMON", str(short / "run"))
        patch.setenv("PYTHONPATH", str(ROOT))
        config = Config((folder, clip.parent, actor.parent), short / "run", short / "state", workers=workers)
        yield Suite(stack.enter_context(running(config)), folder, clip, voice, actor)


def fill(program: Program, suite: Suite, *shots: tuple[int, int, int]) -> Program:
    """A timeline with `shots` (place, first frame of the clip, length) and dialogue on a track of sound."""
    add_line(program)
    for at, left, length in shots:
        add_clip(program, suite.clip, at, left, length)
    add_clip(program, suite.voice, 0, 0, 40, track=2)
    program.line.of_kind("audio")[1].name = DIALOGUE
    return program


def with_takes(program: Program, number: int) -> None:
    """Give a clip two takes of the artist's own, the second one selected, and a colour."""
    clip = program.line.of_kind("video")[0].clips[number]
    assert clip.media is not None
    length = clip.duration
    clip.takes = [Take(clip.media, 0, length), Take(clip.media, clip.left, clip.left + length)]
    clip.take, clip.color = 2, "Pink"


def plugin_folder(folder: Path) -> Path:
    """The folder of ours that `vdub install` makes, as far as the plug-in needs it."""
    made = folder / "plugin"
    made.mkdir(exist_ok=True)
    return made


def copy_of(path: Path, to: Path) -> Path:
    """A copy of a movie."""
    shutil.copyfile(path, to)
    return to


__all__ = [
    "CLOSE",
    "DIALOGUE",
    "DUB",
    "RESTORE",
    "Answers",
    "Suite",
    "bridge_command",
    "copy_of",
    "fill",
    "plugin_folder",
    "suite_in",
    "with_takes",
]
