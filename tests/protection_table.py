"""Every command, every option that names an output, pointed at every one of the command's inputs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WAYS = ("itself", "symlink", "hard link")


@dataclass(frozen=True)
class Row:
    """One command line: `option` writes over `given` by way of `way`.

    command: {names} stand for inputs; what is derived from the output `out` for {words} that say how. ending:
    of the output's name.
    """

    command: str
    option: str
    given: str
    way: str
    ending: str

    @property
    def name(self) -> str:
        """For a report."""
        return f"{self.command.split(' {')[0]}: {self.option} is {self.given}, {self.way}"


DUB = "dub {clip} --dialogue {voice} --actor {actor}"
REENACT = "reenact {clip} --actor {actor} --frames 0:5"
ADAPT = "adapt {clip} --actor ada --steps 1 --consent a,b,c"
PRIOR = "train prior {dataset} --steps 1 --prior {prior} --vgg {vgg}"
REPORT, RECORD, PEOPLE = ".mkv.report.json", ".mkv.provenance.json", ".people.png"
TABLE = (  # command, its output option, the output's ending, inputs
    ("track {clip} -o {out}", "-o", ".npz", "clip"),
    ("track {clip} -o {spare}.npz --overlay {out}", "--overlay", ".mkv", "clip"),
    ("track {clip} -o {spare}.npz --people-sheet {out}", "--people-sheet", ".png", "clip"),
    ("track {clip} -o {track} --people", "people of -o", PEOPLE, "clip"),
    ("track {clip} -o {spare}.npz --log-file {out}", "--log-file", ".log", "clip"),
    ("sync {clip} --json {out}", "--json", ".json", "clip"),
    ("sync {clip} --plot {out}", "--plot", ".png", "clip"),
    (DUB + " -o {out}", "-o", ".mkv", "clip voice actor"),
    (DUB + " -o {movie}", "report of -o", REPORT, "clip voice actor"),
    (DUB + " -o {movie}", "record of -o", RECORD, "clip voice actor"),
    (DUB + " -o {spare}.mkv --matte {out}", "--matte", ".mkv", "clip voice actor"),
    (DUB + " -o {spare}.mkv --performance {out}", "--performance", ".json", "clip voice actor"),
    (DUB + " --holdout {second} -o {out}", "-o", ".mkv", "second"),
    (DUB + " --use-performance {curves} -o {out}", "-o", ".mkv", "curves"),
    (DUB + " --use-performance {curves} -o {movie}", "report of -o", REPORT, "curves"),
    (DUB + " --use-performance {curves} -o {movie}", "record of -o", RECORD, "curves"),
    (DUB + " --use-performance {curves} -o {spare}.mkv --matte {out}", "--matte", ".mkv", "curves"),
    (DUB + " --dialogue {second} -o {several}", "-o of several", "-voice.mkv", "clip second actor"),
    (DUB + " --driver {second} -o {out}", "-o", ".mkv", "second"),
    (DUB + " --driver {second} -o {spare}.mkv --performance {out}", "--performance", ".json", "second"),
    (
        "dub {clip} --dialogue {voice} --minutes 0.05 --consent a,b,c -o {out}",
        "-o without an actor",
        ".mkv",
        "clip voice",
    ),
    (
        "dub {clip} --dialogue {voice} --consent a,b,c -o {drafted}",
        "draft of -o",
        "-draft.mkv",
        "clip voice",
    ),
    (REENACT + " -o {out}", "-o", ".mkv", "clip actor"),
    (REENACT + " -o {movie}", "report of -o", REPORT, "clip actor"),
    (REENACT + " -o {movie}", "record of -o", RECORD, "clip actor"),
    (REENACT + " -o {spare}.mkv --matte {out}", "--matte", ".mkv", "clip actor"),
    (REENACT + " --holdout {second} -o {spare}.mkv --matte {out}", "--matte", ".mkv", "second"),
    ("evaluate {clip} --actor {actor} --frames 20:40 --json {out}", "--json", ".json", "clip actor"),
    (ADAPT + " --prior {prior} -o {out}", "-o", ".actor", "clip prior"),
    (ADAPT + " --prior {prior} -o {package}", "run folder of -o", ".run", "clip prior"),
    (ADAPT + " --rehearsal {dataset} -o {out}", "-o", ".actor", "dataset"),
    (ADAPT + " --rehearsal {dataset} -o {package}", "run folder of -o", ".run", "dataset"),
    ("train prepare {clips} -o {out}", "-o", "", "clips"),
    (PRIOR + " -o {out}", "-o", ".safetensors", "dataset prior vgg"),
    (PRIOR + " -o {weights}", "run folder of -o", ".run", "dataset prior vgg"),
    ("train speech {clips} --steps 1 -o {out}", "-o", ".onnx", "clips"),
    ("train speech {clips} --steps 1 -o {model}", "record of -o", ".json", "clips"),
)
ROWS = [
    Row(command, option, given, way, ending)
    for command, option, ending, inputs in TABLE
    for given in inputs.split()
    for way in WAYS
]


def lay_out(row: Row, material: Path, folder: Path) -> list[str]:
    """Copy the inputs of `material` into `folder`/in, the one at risk where the row has it; the arguments.

    `material` holds a file or folder for each name in the table: clip, voice, second, curves, actor, prior,
    vgg, dataset, clips.
    """
    for name in ("in", "out", "spare"):
        (folder / name).mkdir()
    inputs = {source.name: folder / "in" / source.name for source in material.iterdir()}
    out = folder / "out" / f"x{row.ending}"
    is_folder = (material / row.given).is_dir()
    if row.way == "itself" and not is_folder:
        out = inputs[row.given] = folder / "in" / f"x{row.ending}"
    for name, place in inputs.items():
        if f"{{{name}}}" in row.command:
            (shutil.copytree if (material / name).is_dir() else shutil.copy)(material / name, place)
    given = inputs[row.given]
    if is_folder:
        out = _inside(row, given, out)
    elif row.way != "itself":
        _link(row.way, given, out)
    words = {
        **{name: str(place) for name, place in inputs.items()},
        "out": str(out),
        "spare": str(folder / "spare" / "s"),
        "movie": str(out).removesuffix(".report.json").removesuffix(".provenance.json"),
        "several": str(out).removesuffix("-voice.mkv") + ".mkv",
        "drafted": str(out).removesuffix("-draft.mkv") + ".mkv",
        "package": str(out).removesuffix(".run") + ".actor",
        "weights": str(out).removesuffix(".run") + ".safetensors",
        "track": str(out).removesuffix(PEOPLE) + ".npz",
        "model": str(out).removesuffix(".json") + ".onnx",
    }
    return [token.format(**words) for token in row.command.split()]


def _inside(row: Row, given: Path, out: Path) -> Path:
    """An output in the input folder `given`: a new file there, the same through a link to the folder, or a
    hard link of a file there. A folder of clips may take new files; there it is a clip, or their list.
    """
    if row.given == "clips":
        inner = given / ("clips.json" if row.ending == ".json" else "anna.mkv")
        if row.way == "itself":
            return inner
        _link(row.way, inner, out)
    elif row.way == "itself":
        return given / out.name
    elif row.way == "symlink":
        out.parent.rmdir()
        out.parent.symlink_to(given)
    else:
        _link(row.way, next(p for p in sorted(given.iterdir()) if p.is_file()), out)
    return out


def _link(way: str, given: Path, out: Path) -> None:
    (os.symlink if way == "symlink" else os.link)(given, out)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its name there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*")) if p.is_file())
