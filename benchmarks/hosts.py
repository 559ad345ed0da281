"""The edit of twelve shots dubbed by `vdub dub EDIT` and in every host: the same frames?

    python -m benchmarks.hosts FOLDER

FOLDER: as `python -m benchmarks.edit_shots CLIPS ACTORS FOLDER` leaves it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.host_ways import (
    Asked,
    Hashes,
    ShotDub,
    by_files,
    dialogue_of,
    digest_of,
    dub_edit,
    in_blender,
    in_nuke,
    in_resolve,
    movies_of,
    only_in,
    prores_digest,
    shots_of,
)
from benchmarks.nuke_kills import COMMAND, start_service

ACTORS = ("hdtf_hill", "studio_a")
WAYS = ("Resolve Studio 21.0.4", "Resolve 21.0.3", "Resolve 21.1, by files", "Nuke", "Blender")
IN_PRORES = 3  # of the ways
PATIENCE_S = 120.0  # for an answer, on a machine that is busy
TEXT = (
    "The edit of twelve shots, dubbed by `vdub dub EDIT` without loss, by the menu entry in the double of"
    " Resolve, Studio and free, by export and import in the free edition that runs no Python, by a node for"
    " each shot in the double of Nuke, and by the strip's menu in Blender 5.0.1 itself. A hash is that of"
    " every frame of the shot: of the movies' 8-bit R'G'B', and for Nuke of what the node gives over its"
    " plate. For Resolve, shots at another rate or speed than the timeline's are dubbed as they are shown, by"
    " `--for resolve`; its movies are ProRes, whose samples are compared with those of the command's frames"
    " encoded in the same way. In Nuke and Blender the retimed shots have a plate of their own, the movie of"
    " what the shot shows, and are compared with the frames for Resolve. A node and a strip dub one person,"
    " so that the shot of two people has no place there."
)


@dataclass
class Compared:
    """What was found. undone: by way, what undo left."""

    plain: Hashes = field(default_factory=dict)  # by the command
    for_resolve: Hashes = field(default_factory=dict)  # by the command with --for resolve
    prores: Hashes = field(default_factory=dict)  # the same frames in ProRes
    retimed: tuple[str, ...] = ()
    kept: dict[str, str] = field(default_factory=dict)  # shots that are not dubbed, and why
    ways: dict[str, Hashes] = field(default_factory=dict)
    undone: dict[str, str] = field(default_factory=dict)

    def said(self, way: str, shot: str) -> str:
        """What a way gave of a shot, in words."""
        found = self.ways[way].get(shot)
        wanted = self.for_resolve if shot in self.retimed else self.plain
        if WAYS.index(way) < IN_PRORES:
            wanted = self.prores
        if found is None:
            return "not dubbed" if shot in self.plain and self.ways[way] else ""
        return "the same" if found == wanted.get(shot) else f"other frames, {found}"

    def differing(self) -> list[str]:
        """The ways and shots whose frames are others."""
        shots = {*self.plain, *self.kept}
        pairs = ((way, shot) for way in self.ways for shot in sorted(shots))
        return [f"{way}: {shot}" for way, shot in pairs if self.said(way, shot).startswith("other")]


def main() -> None:
    """Dub, compare and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=0, help="of each shot that are dubbed; 0: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vd-") as scratch:
        found = compare(args.folder.absolute(), args.frames, Path(scratch))
    report(args.json, args.frames, found)


def compare(folder: Path, frames: int, scratch: Path) -> Compared:
    """The frames of every way. frames: of each shot that are dubbed; 0: all."""
    from resolve_edit import cast_file, wanted_ranges

    from visualdub.wire.client import Client

    os.environ.update(VISUALDUB_DAEMON=str(scratch / "run"), VISUALDUB_STATE=str(scratch / "state"))
    os.environ["VISUALDUB_COMMAND"] = json.dumps(COMMAND)
    packages = [Path(os.path.realpath(folder / f"{name}.actor")) for name in ACTORS]
    for package in packages:
        (scratch / package.name).symlink_to(package)
    asked = Asked(folder, cast_file(scratch / "cast.toml"), wanted_ranges(frames))
    found, shots = by_command(asked, scratch)
    service = start_service(scratch, [scratch, folder, *packages])
    try:
        with Client(timeout_s=PATIENCE_S) as client:
            for package in packages:
                client.add_actor(str(package))
        ways: list[Callable[[], tuple[Hashes, str]]] = [
            lambda: in_resolve("studio", asked, scratch),
            lambda: in_resolve("free_21_0", asked, scratch),
            lambda: by_files(asked, scratch),
            lambda: in_nuke(shots, scratch),
            lambda: in_blender(shots, scratch),
        ]
        for way, run in reversed(list(zip(WAYS, ways, strict=True))):
            found.ways[way], found.undone[way] = run()
            said = {shot: found.said(way, shot) for shot in found.ways[way]}
            print(way, said, found.undone[way], flush=True)
    finally:
        service.kill()
        service.wait()
    return found


def by_command(asked: Asked, scratch: Path) -> tuple[Compared, list[ShotDub]]:
    """The frames that `vdub dub EDIT` gives, and its shots as they are dubbed alone."""
    out, cast = scratch / "command", asked.cast
    edit = Path(shutil.copyfile(asked.folder / "cut.otio", scratch / "cut.otio"))
    only_in(edit, asked.ranges)
    first = dub_edit(edit, cast, out, "dub", "--codec", "ffv1")
    found = Compared({name: digest_of(movie) for name, movie in movies_of(first).items()})
    dialogue = dialogue_of(first, scratch)
    second = dub_edit(edit, cast, out, "dub", "--codec", "ffv1", "--for", "resolve")  # shots alike are kept
    movies, alone = movies_of(second), shots_of(first, second, dialogue, cast, scratch)
    found.for_resolve = {name: digest_of(movie) for name, movie in movies.items()}
    found.prores = {name: prores_digest(movie, scratch) for name, movie in movies.items()}
    found.kept = {s["clip"]: s["reason"] for s in second["shots"] if not s["output"]}
    found.retimed = tuple(shot.name for shot in alone if shot.retimed)
    print("vdub dub", found.plain, found.for_resolve, flush=True)
    return found, alone


def report(path: Path | None, frames: int, found: Compared) -> None:
    """Print, and write a page's section where a file is named. Ends with 1 where frames differ."""
    from visualdub.measure.result import Finding, table, write_result

    others = {s: "the same" if h == found.plain[s] else h for s, h in found.for_resolve.items()}
    rows = [[s, h, others[s], *(found.said(way, s) for way in WAYS)] for s, h in found.plain.items()]
    rows += [[shot, f"kept: {why}", "", *("" for _ in WAYS)] for shot, why in found.kept.items()]
    rows.append(["after undo", "", "", *(found.undone[way] for way in WAYS)])
    text = table(["shot", "`vdub dub EDIT`", "`--for resolve`", *WAYS], rows)
    print(text)
    given = [found.said(way, s) for way in WAYS for s in found.ways[way]]
    same, asked = given.count("the same"), len(given)
    measured = f"{same} of {asked} dubs are the same"
    if found.differing():
        measured += f"; others: {', '.join(found.differing())}"
    finding = Finding("an edit of twelve shots in every host", "the same frames", measured)
    if path is not None:
        part = f" Of each shot {frames} frames were dubbed and the others left alone." if frames else ""
        write_result(path, "The same frames from every host", [TEXT + part, text], [finding])
    if found.differing():
        raise SystemExit("the frames differ")


if __name__ == "__main__":
    main()
