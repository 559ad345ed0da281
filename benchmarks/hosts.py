"""The shots of a clip dubbed by `vdub dub`, by the node in Nuke's double and by Blender: the same frames?"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nuke_kills import COMMAND, start_service

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ROOT / "tests" / "hosts"
Shots = list[tuple[int, int]]


def main() -> None:
    """Dub, compare and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--dialogue", type=Path, required=True)
    parser.add_argument("--actor", type=Path, required=True)
    parser.add_argument("--shots", type=int, default=12)
    parser.add_argument("--frames", type=int, default=8, help="of a shot")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    given = {name: str(getattr(args, name).absolute()) for name in ("clip", "dialogue", "actor")}
    shots = [(i * args.frames, (i + 1) * args.frames) for i in range(args.shots)]
    with tempfile.TemporaryDirectory(prefix="vd-") as folder:
        found = compare(given, shots, Path(folder))
    report(args, found)


def compare(given: dict[str, str], shots: Shots, folder: Path) -> dict[str, tuple[str, str]]:
    """For each way: the hash of all frames, and whether undo brought back what was there."""
    os.environ.update(VISUALDUB_DAEMON=str(folder / "run"), VISUALDUB_STATE=str(folder / "state"))
    os.environ["VISUALDUB_COMMAND"] = json.dumps(COMMAND)
    roots = [folder, *(Path(p).parent for p in given.values())]
    service = start_service(folder, roots)
    try:
        found = {"vdub dub": (by_command(given, shots, folder), "")}
        for name, way in (("Nuke's double", in_nuke), ("Blender", in_blender)):
            found[name] = way(given, shots, folder)
            print(name, *found[name], flush=True)
    finally:
        service.kill()
        service.wait()
    return found


def digest_of(movies: list[Path]) -> str:
    """The first 16 digits of the SHA-256 of every frame's 8-bit R'G'B'."""
    from visualdub.media.source import open_source
    from visualdub.media.yuv import frame_rgb

    digest = hashlib.sha256()
    for movie in movies:
        with open_source(movie) as source:
            for frame in source.frames():
                digest.update(frame_rgb(frame).tobytes())
    return digest.hexdigest()[:16]


def by_command(given: dict[str, str], shots: Shots, folder: Path) -> str:
    """By the command, without the service."""
    movies = []
    for start, end in shots:
        movies.append(folder / f"command{start}.mkv")
        words = ["dub", given["clip"], "--dialogue", given["dialogue"], "--actor", given["actor"]]
        words += ["--frames", f"{start}:{end}", "-o", str(movies[-1])]
        subprocess.run([*COMMAND, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print("vdub dub", digest_of(movies), flush=True)
    return digest_of(movies)


def in_nuke(given: dict[str, str], shots: Shots, folder: Path) -> tuple[str, str]:
    """By a node for each shot; the frames are those that come out of the node, the dub over its plate."""
    sys.path[:0] = [str(HOSTS)]
    from nuke_double import make_nuke, write_script
    from nuke_double.pictures import Evaluator

    nuke: Any = make_nuke(str(HOSTS / "nuke_surface.json"))
    sys.modules["nuke"] = nuke
    nuke.pluginAddPath(str(ROOT / "plugin_nuke" / "path"))
    import visualdub_nuke

    digest, undone = hashlib.sha256(), True
    read = nuke.createNode("Read", inpanel=False)
    read.knob("file").setValue(given["clip"])
    for name in ("last", "origlast"):
        read.knob(name).setValue(shots[-1][1])
    for start, end in shots:
        node = visualdub_nuke.create()
        node.setInput(0, read)
        values = {"dialogue": given["dialogue"], "actor": given["actor"], "range": f"{start + 1}-{end}"}
        for name, value in {**values, "cache": str(folder / f"cache{start}")}.items():
            node.knob(name).setValue(value)
        before = write_script(nuke.double)
        version = visualdub_nuke.dub(node)
        pictures = Evaluator((version.height, version.width))
        for frame in range(start + 1, end + 1):
            codes = np.rint(pictures.picture(node, frame)[..., :3] * 255).astype(np.uint8)
            digest.update(codes.tobytes())
        nuke.undo()
        undone &= write_script(nuke.double) == before
    return digest.hexdigest()[:16], "the same script" if undone else "another script"


def in_blender(given: dict[str, str], shots: Shots, folder: Path) -> tuple[str, str]:
    """By the entry of the strip's menu, in Blender itself where `bpy` is installed."""
    values = {**given, "shots": shots, "folder": str(folder / "blender"), "service": ""}
    paths = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
    done = subprocess.run(
        [sys.executable, str(HOSTS / "blender_shots.py"), json.dumps(values)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("SAID ")]
    if not said:
        return "not run: bpy is not installed, or failed", ""
    values = json.loads(said[-1][len("SAID ") :])
    undone = "the same timeline" if values["undone"] else "another timeline"
    return digest_of([Path(p) for p in values["movies"]]), undone


def report(args: argparse.Namespace, found: dict[str, tuple[str, str]]) -> None:
    """Print, and write a page's section where a file is named."""
    print(json.dumps(found, indent=1))
    if args.json is not None:
        from visualdub.measure.result import table, write_result

        rows = [[name, *said] for name, said in found.items()]
        text = [
            f"{args.shots} shots of {args.frames} frames, dubbed one by one. The hash is that of the R'G'B'"
            " of 8 bits of every frame: of the dubbed movies, and for Nuke of what the node gives over its"
            " plate.",
            table(["by", "frames", "after undo"], rows),
        ]
        write_result(args.json, "The same frames from every host", text, [])
    if len({digest for digest, _ in found.values() if not digest.startswith("not run")}) > 1:
        raise SystemExit("the frames differ")


if __name__ == "__main__":
    main()
