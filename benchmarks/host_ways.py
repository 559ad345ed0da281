"""The ways in which the edit of twelve shots is dubbed: by the command, and in each host's own way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nuke_kills import COMMAND

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ROOT / "tests" / "hosts"
sys.path[:0] = [str(ROOT / "tests"), str(HOSTS)]
Node = dict[str, Any]
Hashes = dict[str, str]  # of the frames of each shot, by its name


@dataclass(frozen=True)
class ShotDub:
    """One shot as it is dubbed alone. Frames are of the clip, half open."""

    name: str
    clip: str
    start: int
    end: int
    dialogue: str
    actor: str
    skip: tuple[tuple[int, int], ...] = ()
    retimed: bool = False  # its clip is the movie of what a retimed shot shows


@dataclass(frozen=True)
class Asked:
    """What is dubbed. folder: of benchmarks/edit_shots.py. ranges: frames of the edit, half open."""

    folder: Path
    cast: Path
    ranges: list[tuple[int, int]]


def only_in(edit: Path, ranges: Sequence[tuple[int, int]]) -> None:
    """Mark in an edit on disk what lies outside of `ranges` to be left alone."""
    from plugin_resolve.otio_copy import only_ranges, read_copy, write_copy

    values = read_copy(edit)
    for track in values["tracks"]["children"]:
        for child in track["children"]:
            if child["OTIO_SCHEMA"].startswith("Stack") and child["source_range"] is None:
                (inner,) = child["children"][0]["children"]
                length = inner["source_range"]["duration"]
                child["source_range"] = {**inner["source_range"], "start_time": {**length, "value": 0.0}}
    only_ranges(values, ranges, 25.0)
    write_copy(edit, values)


def digest_of(movie: Path, planes: bool = False) -> str:
    """The first 12 digits of the SHA-256 of a movie's frames: of their 8-bit R'G'B', or of the samples as
    they are stored.
    """
    from visualdub.media.source import open_source
    from visualdub.media.yuv import frame_rgb

    digest = hashlib.sha256()
    with open_source(movie) as source:
        for frame in source.frames():
            for part in frame.planes if planes else (frame_rgb(frame),):
                digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:12]


def prores_digest(movie: Path, scratch: Path) -> str:
    """The hash of a movie's samples once it is encoded as ProRes, as the dubs for Resolve are."""
    from visualdub.media.movie_writer import MovieWriter
    from visualdub.media.source import open_source

    path = scratch / f"{movie.stem}.mov"
    with open_source(movie) as source:
        info = replace(source.info, path=path, has_audio=False)
        with MovieWriter(path, info, "prores") as writer:
            for frame in source.frames():
                writer.write(frame)
    return digest_of(path, planes=True)


# ---- the command -------------------------------------------------------------------------------------------


def dub_edit(edit: Path, cast: Path, out: Path, dialogue: str, *more: str) -> Node:
    """`vdub dub EDIT`; its report. The actors lie in the folder of the cast."""
    words = ["dub", str(edit), "--dialogue-track", dialogue, "--cast", str(cast), "-o", str(out), *more]
    done = subprocess.run([*COMMAND, *words], cwd=cast.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"vdub {' '.join(words)}: {done.stdout[-500:]} {done.stderr[-2000:]}")
    report = json.loads((out / f"{edit.name}.report.json").read_text(encoding="utf-8"))
    return dict(report)


def movies_of(report: Node) -> dict[str, Path]:
    """The dubbed movie of each shot."""
    return {shot["clip"]: Path(shot["output"]) for shot in report["shots"] if shot["output"]}


def dialogue_of(report: Node, scratch: Path) -> dict[str, str]:
    """What is heard in each shot, as a file of its own: it is written again when the edit is dubbed again."""
    found = {}
    for shot in report["shots"]:
        if shot["output"]:
            words = Path(shot["output"]).parents[1] / "dialogue" / f"{Path(shot['output']).stem}_0.wav"
            found[shot["clip"]] = str(shutil.copyfile(words, scratch / words.name))
    return found


def shots_of(plain: Node, shown: Node, dialogue: dict[str, str], cast: Path, scratch: Path) -> list[ShotDub]:
    """The shots that a node or a strip can dub: one person each. The plate of a retimed shot is the movie
    of what it shows, as an artist renders it first.

    plain, shown: the reports of the edit, and of the edit with every retimed shot dubbed as it is shown.
    """
    found = []
    for shot, as_shown in zip(plain["shots"], shown["shots"], strict=True):
        if not shot["output"] or len(shot["speaking"]) != 1:
            continue
        name, clip, (start, end) = shot["clip"], shot["source"], map(int, shot["frames"].split(":"))
        retimed = shot["retime"] != "plain"
        if retimed:
            start, end = 0, shot["timeline"][1] - shot["timeline"][0]
            clip = str(baked(Path(plain["edit"]), cast, shot["number"], scratch / f"{name} retimed.mkv"))
        left = (as_shown if retimed else shot)["skipped"]
        skip = tuple((int(a), int(b)) for a, b in (run.split(":") for run in left))
        actor = shot["speaking"][0]["actor"]
        found.append(ShotDub(name, clip, start, end, dialogue[name], actor, skip, retimed))
    return found


def baked(edit: Path, cast: Path, number: int, path: Path) -> Path:
    """The movie of what a retimed shot shows."""
    from visualdub.edit.dubbing import bake
    from visualdub.edit.request import EditRequest, EditWords, EditWritten, plan_request

    words = EditWords(track="dub", cast=cast)
    (plan,) = plan_request(EditRequest(edit, None, words, EditWritten(host="resolve")))
    return bake(plan, next(s for s in plan.shots if s.number == number), path)


# ---- Resolve -----------------------------------------------------------------------------------------------


def in_resolve(edition: str, asked: Asked, scratch: Path) -> tuple[Hashes, str]:
    """By the menu entry: the frames of every movie that the timeline shows, and what undo left."""
    import resolve_double
    from resolve_edit import DIALOGUE, as_text, edit_in
    from resolve_scene import DUB, RESTORE, Answers

    from plugin_resolve.session import run

    program = getattr(resolve_double, edition)()
    program.project.name = edition
    edit_in(program, asked.folder, scratch)
    before = program.project.as_bytes()
    choices = {"dialogue_track": ", ".join(DIALOGUE), "actor": str(asked.cast)}
    choices["ranges"] = as_text(asked.ranges)
    window = Answers(scratch / "dubs", [(DUB, choices)])
    plugin = scratch / "plugin"
    plugin.mkdir(exist_ok=True)
    run(program.scripting(), window, plugin, COMMAND)
    print(edition, *window.said, *window.problems, flush=True)
    found: Hashes = {}
    ours = [t for t in program.line.of_kind("video") if t.name == "Visual Dub"]
    first = program.line.of_kind("video")[0]
    for clip in first.clips:
        over = next((c for t in ours for c in t.clips if c.start == clip.start), None)
        shown = over or clip
        media = program.project.media_of(shown.media)
        if media is not None and (over is not None or clip.take > 1):
            assert shown.duration == clip.duration, clip.name
            found[clip.inside[0].name if clip.inside else clip.name] = digest_of(Path(media.path), True)
    window.todo = [(RESTORE, {})]
    run(program.scripting(), window, plugin, COMMAND)
    same = program.project.as_bytes() == before
    return found, "the same project" if same else "another project"


def by_files(asked: Asked, scratch: Path) -> tuple[Hashes, str]:
    """In the free edition that runs no Python: exported, dubbed by the command, imported again."""
    from resolve_double import LineObject, ResolveObject, free_21_1
    from resolve_edit import DIALOGUE, edit_in

    program = edit_in(free_21_1(), asked.folder, scratch)
    resolve, exported = ResolveObject(program, ""), scratch / "files" / "Twelve.otio"
    exported.parent.mkdir()
    line = LineObject(program, program.project.line)
    assert line.Export(str(exported), resolve.EXPORT_OTIO, resolve.EXPORT_NONE)
    only_in(exported, asked.ranges)  # what no window asks for stands in the file as markers
    kept = exported.read_bytes()
    out = scratch / "files" / "dubbed"
    report = dub_edit(exported, asked.cast, out, ", ".join(DIALOGUE), "--for", "resolve")
    found = {name: digest_of(movie, True) for name, movie in movies_of(report).items()}
    subprocess.run([*COMMAND, "edit", "undo", str(out / exported.name)], check=True, capture_output=True)
    same = (out / exported.name).read_bytes() == kept
    return found, "the same file" if same else "another file"


# ---- Nuke and Blender --------------------------------------------------------------------------------------


def in_nuke(shots: Sequence[ShotDub], scratch: Path) -> tuple[Hashes, str]:
    """By a node for each shot; the frames are those that come out of the node, the dub over its plate."""
    from nuke_double import make_nuke, write_script
    from nuke_double.pictures import Evaluator

    nuke: Any = make_nuke(str(HOSTS / "nuke_surface.json"))
    sys.modules["nuke"] = nuke
    nuke.pluginAddPath(str(ROOT / "plugin_nuke" / "path"))
    import visualdub_nuke

    found: Hashes = {}
    undone = True
    for shot in shots:
        read = nuke.createNode("Read", inpanel=False)
        read.knob("file").setValue(shot.clip)
        for name in ("last", "origlast"):
            read.knob(name).setValue(shot.end)
        node = visualdub_nuke.create()
        node.setInput(0, read)
        values = {"dialogue": shot.dialogue, "actor": shot.actor, "range": f"{shot.start + 1}-{shot.end}"}
        values["leave"] = ", ".join(f"{start + 1}-{end}" for start, end in shot.skip)
        for name, value in {**values, "cache": str(scratch / f"nuke {shot.name}")}.items():
            node.knob(name).setValue(value)
        before = write_script(nuke.double)
        version = visualdub_nuke.dub(node)
        pictures, digest = Evaluator((version.height, version.width)), hashlib.sha256()
        for frame in range(shot.start + 1, shot.end + 1):
            codes = np.rint(pictures.picture(node, frame)[..., :3] * 255).astype(np.uint8)
            digest.update(codes.tobytes())
        found[shot.name] = digest.hexdigest()[:12]
        nuke.undo()
        undone &= write_script(nuke.double) == before
        print("Nuke", shot.name, found[shot.name], flush=True)
    return found, "the same script" if undone else "another script"


def in_blender(shots: Sequence[ShotDub], scratch: Path) -> tuple[Hashes, str]:
    """By the entry of the strip's menu, in Blender itself where `bpy` is installed."""
    values = {"shots": [asdict(s) for s in shots], "folder": str(scratch / "blender"), "service": ""}
    paths = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
    done = subprocess.run(
        [sys.executable, str(HOSTS / "blender_shots.py"), json.dumps(values)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("SAID ")]
    if not said:
        print("Blender", done.stderr[-2000:], flush=True)
        return {}, "not run: bpy is not installed, or failed"
    values = json.loads(said[-1][len("SAID ") :])
    undone = "the same timeline" if values["undone"] else "another timeline"
    return {name: digest_of(Path(movie)) for name, movie in values["movies"].items()}, undone
