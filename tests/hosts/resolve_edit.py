"""The edit of twelve shots of benchmarks/edit_shots.py as an artist has it in the double of Resolve."""

from __future__ import annotations

import shutil
from pathlib import Path

from resolve_double import Program
from resolve_editing import add_clip, add_compound, add_dissolve, add_line

DIALOGUE = ("HILL", "STUDIO")  # tracks, and recordings of their names
FRAMES = 237  # of the edit, 25 a second
LEFT = 223, 229  # frames of the edit that are left alone: 26 to 31 of the last clip's media
SHOTS = (  # name, media, where in the timeline, how long there, the first frame of the media, speed
    ("plain", "hill_25", 0, 20, 20, 1.0),
    ("film", "hill_24", 20, 25, 24, 1.0),
    ("ntsc", "hill_2997", 45, 25, 30, 1.0),
    ("fast", "hill_50", 70, 20, 20, 1.0),
    ("slowed", "hill_25", 90, 20, 32, 0.8),
    ("reversed", "hill_25", 110, 16, 20, -1.0),
    ("frozen", "hill_25", 126, 15, 33, 0.0),
    ("wall", "wall", 167, 15, 5, 1.0),
    ("pair", "pair", 197, 20, 10, 1.0),
    ("marked", "hill_25", 217, 20, 20, 1.0),
)
CUT, BEFORE, AFTER = 45, 4, 4  # of the dissolve


def edit_in(program: Program, folder: Path, scratch: Path) -> Program:
    """The edit in a new timeline. folder: as benchmarks/edit_shots.py leaves it. scratch: where a clip lies
    for a moment whose media are missing then.
    """
    line, material = add_line(program, "Twelve shots"), folder / "material"
    for name, media, at, length, left, speed in SHOTS:
        clip = add_clip(program, material / f"{media}.mkv", at, left, length, speed=speed)
        clip.name = name
    add_dissolve(program, CUT, BEFORE, AFTER)
    add_compound(program, "compound", 141, 16, material / "studio.mkv", 10).inside[0].name = "nested"
    lost = Path(shutil.copyfile(material / "wall.mkv", scratch / "nowhere.mkv"))
    add_clip(program, lost, 182, 5, 15).name = "lost"
    lost.unlink()
    for number, name in enumerate(DIALOGUE, 2):
        add_clip(program, folder / f"{name}.wav", 0, 0, FRAMES, track=number)
        line.of_kind("audio")[number - 1].name = name
    return program


def wanted_ranges(most: int) -> list[tuple[int, int]]:
    """Frames of the edit that are dubbed: `most` in the middle of each clip, or all for 0; never those of
    `LEFT`.
    """
    if not most:
        return [(0, LEFT[0]), (LEFT[1], FRAMES)]
    places = [(at, length) for _, _, at, length, _, _ in SHOTS[:-1]] + [(141, 16)]
    middle = [(at + (length - most) // 2, at + (length + most) // 2) for at, length in places]
    return [*sorted(middle), (LEFT[0] - most // 2, LEFT[0]), (LEFT[1], LEFT[1] + most // 2)]


def as_text(ranges: list[tuple[int, int]]) -> str:
    """Ranges as they are written into the window."""

    def code(frame: int) -> str:
        return f"01:00:{frame // 25:02d}:{frame % 25:02d}"

    return ", ".join(f"{code(first)}-{code(end - 1)}" for first, end in ranges)


def cast_file(path: Path) -> Path:
    """Who speaks in the edit, by media, so that it holds for the edit on disk as for the timeline."""
    rules = [
        ("hill_*.mkv", "hdtf_hill", "", "HILL"),
        ("wall.mkv", "hdtf_hill", "", "HILL"),
        ("studio.mkv", "studio_a", "", "STUDIO"),
        ("pair.mkv", "hdtf_hill", "256,256", "HILL"),
        ("pair.mkv", "studio_a", "768,256", "STUDIO"),
    ]
    text = ""
    for clip, actor, person, dialogue in rules:
        text += f'[[cast]]\nclip = "{clip}"\nactor = "{actor}"\ndialogue = "{dialogue}"\n'
        text += f'person = "{person}"\n' if person else ""
    path.write_text(text, encoding="utf-8")
    return path
