"""An edit of every kind of clip, dubbed by one command, and what must hold of the result.

    python -m benchmarks.edit_shots CLIPS ACTORS OUT

CLIPS: the folder of real clips. ACTORS: a folder with hdtf_hill.actor and studio_a.actor. The edit has media
of four rates, a dissolve, a retime of 80 %, a reverse, a freeze, a nested stack, a gap, a clip without a
face, one with missing media, two people with a dialogue each, and a range that is left alone. The dialogue
has a click at the first and the last sample of each shot. Prints what was found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import wavfile

from visualdub.edit.layout import EditClip
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.movie_writer import MovieWriter, picture_info, rgb_frame
from visualdub.media.source import open_source
from visualdub.timing import FrameRange

RATE = 25  # frames/s of the edit
WAV_RATE = 48000
CLICK = 0.9
Node = dict[str, Any]


# ---- the text of an edit -----------------------------------------------------------------------------------


def time(value: float, rate: float = RATE) -> Node:
    """A RationalTime."""
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": float(rate), "value": float(value)}


def span(start: float, length: float, rate: float = RATE) -> Node:
    """A TimeRange."""
    times = {"duration": time(length, rate), "start_time": time(start, rate)}
    return {"OTIO_SCHEMA": "TimeRange.1", **times}


def item(schema: str, name: str, **more: Any) -> Node:
    """An item of a track or stack."""
    empty: Node = {"metadata": {}, "name": name, "source_range": None, "effects": [], "markers": []}
    return {"OTIO_SCHEMA": schema, **empty, "enabled": True, **more}


def clip(name: str, path: Path, start: float, length: float, **more: Any) -> Node:
    """A clip of `path`; rate, count: of its media."""
    rate, count = more.pop("rate", RATE), more.pop("count", 1000)
    media: Node = {"OTIO_SCHEMA": "ExternalReference.1", "metadata": {}, "name": "", "target_url": str(path)}
    media |= {"available_range": span(0, count, rate), "available_image_bounds": None}
    references = {"media_references": {"DEFAULT_MEDIA": media}, "active_media_reference_key": "DEFAULT_MEDIA"}
    return item("Clip.2", name, **{"source_range": span(start, length, rate), **references, **more})


def warp(scalar: float) -> list[Node]:
    """A constant speed."""
    effect = {"OTIO_SCHEMA": "LinearTimeWarp.1", "metadata": {}, "name": "", "time_scalar": scalar}
    return [{**effect, "effect_name": "LinearTimeWarp"}]


def track(kind: str, name: str, children: list[Node]) -> Node:
    """A track."""
    role = {"visualdub": {"role": "dub"}} if kind == "Audio" else {}
    return item("Track.1", name, kind=kind, children=children, metadata=role)


# ---- material ----------------------------------------------------------------------------------------------


def at_rate(clip_path: Path, out: Path, rate: Fraction, count: int = 120) -> Path:
    """The first frames of a clip as a movie of another rate, without loss."""
    with open_source(clip_path) as source:
        count = min(count, source.info.frame_count)
        info = replace(source.info, rate=rate, frame_count=count, has_audio=False, repeated=(), timecode=None)
        with MovieWriter(out, replace(info, path=out), "ffv1") as writer:
            for frame in source.frames(FrameRange(0, count)):
                writer.write(frame)
    return out


def pictures(path: Path, count: int, size: int = 512) -> list[np.ndarray[Any, Any]]:
    """Frames of a clip as RGB, (size, size, 3)."""
    movie = cv2.VideoCapture(str(path))
    found: list[np.ndarray[Any, Any]] = []
    while len(found) < count and (read := movie.read())[0]:
        found.append(cv2.resize(read[1], (size, size), interpolation=cv2.INTER_AREA)[..., ::-1])
    return found


def write_pictures(out: Path, frames: list[np.ndarray[Any, Any]]) -> Path:
    """A movie of RGB pictures at the edit's rate."""
    height, width = frames[0].shape[:2]
    info = picture_info(out, width, height, Fraction(RATE), len(frames))
    with MovieWriter(out, info, "ffv1") as writer:
        for i, frame in enumerate(frames):
            writer.write(rgb_frame(np.ascontiguousarray(frame), info.image, i))
    return out


def make_material(clips: Path, out: Path) -> dict[str, Path]:
    """The movies that the edit is cut from."""
    out.mkdir(parents=True, exist_ok=True)
    hill, studio = clips / "hdtf_hill.mp4", clips / "studio_a.mp4"
    rates = {"24": Fraction(24), "2997": Fraction(30000, 1001), "50": Fraction(50), "25": Fraction(25)}
    made = {name: at_rate(hill, out / f"hill_{name}.mkv", rate) for name, rate in rates.items()}
    made["studio"] = write_pictures(out / "studio.mkv", pictures(studio, 120))
    pair = [np.hstack(p) for p in zip(pictures(hill, 80), pictures(studio, 80), strict=False)]
    made["pair"] = write_pictures(out / "pair.mkv", pair)
    ramp = np.tile(np.linspace(30, 200, 320, dtype=np.uint8)[None, :, None], (240, 1, 3))
    made["wall"] = write_pictures(out / "wall.mkv", [np.roll(ramp, 4 * i, 1) for i in range(40)])
    return made


def make_edit(made: dict[str, Path], out: Path) -> tuple[Path, list[tuple[str, int, int]]]:
    """The edit, and the name, first frame and end of every clip in it."""
    dissolve = {
        "OTIO_SCHEMA": "Transition.1",
        "metadata": {},
        "name": "d",
        "transition_type": "SMPTE_Dissolve",
    }
    dissolve |= {"in_offset": time(4), "out_offset": time(4)}
    skip = {"OTIO_SCHEMA": "Marker.2", "metadata": {"visualdub": {"skip": True}}, "name": "", "color": "RED"}
    skip |= {"marked_range": span(26, 6), "comment": ""}
    inner = track("Video", "inner", [clip("nested", made["studio"], 10, 16)])
    shots = [
        clip("plain", made["25"], 20, 20),
        clip("film", made["24"], 24, 24, rate=24),
        dissolve,
        clip("ntsc", made["2997"], 30, 30, rate=29.97),
        clip("fast", made["50"], 20, 40, rate=50),
        clip("slowed", made["25"], 32, 20, effects=warp(0.8)),
        clip("reversed", made["25"], 20, 16, effects=warp(-1)),
        clip("frozen", made["25"], 33, 15, effects=warp(0)),
        item("Stack.1", "compound", children=[inner]),
        item("Gap.1", "", source_range=span(0, 10)),
        clip("wall", made["wall"], 5, 15),
        clip("lost", out / "nowhere.mov", 5, 15),
        clip("pair", made["pair"], 10, 20),
        clip("marked", made["25"], 20, 20, markers=[skip]),
    ]
    places, at = [], Fraction(0)
    for shot in shots:
        if shot is dissolve:
            continue
        times = shot["source_range"] or shot["children"][0]["children"][0]["source_range"]
        frames = round(times["duration"]["value"] / times["duration"]["rate"] * RATE)
        places.append((shot["name"], int(at), int(at) + frames))
        at += frames
    sound = [
        track("Audio", name, [clip(name, out / f"{name}.wav", 0, int(at), count=int(at))])
        for name in ("HILL", "STUDIO")
    ]
    stack = item("Stack.1", "tracks", children=[track("Video", "picture", shots), *sound])
    timeline = {"OTIO_SCHEMA": "Timeline.1", "metadata": {}, "name": "fourteen", "tracks": stack}
    path = out / "cut.otio"
    path.write_text(json.dumps({**timeline, "global_start_time": time(90000)}, indent=4), encoding="utf-8")
    (out / "cast.toml").write_text(
        '[[cast]]\nclip = "pair"\nactor = "hdtf_hill.actor"\nperson = "256,256"\ndialogue = "HILL"\n'
        '[[cast]]\nclip = "pair"\nactor = "studio_a.actor"\nperson = "768,256"\ndialogue = "STUDIO"\n'
        '[[cast]]\nclip = "nested"\nactor = "studio_a.actor"\ndialogue = "STUDIO"\n'
        + "".join(
            f'[[cast]]\nclip = "{name}"\nactor = "hdtf_hill.actor"\ndialogue = "HILL"\n'
            for name, _, _ in places
            if name not in ("pair", "compound")
        )
    )
    return path, places


def make_dialogue(dialogue: Path, out: Path, places: list[tuple[str, int, int]]) -> None:
    """The two dialogues: speech, silent around a click at the first and the last sample of each clip."""
    for name, recording in (("HILL", "french1.wav"), ("STUDIO", "german1.wav")):
        rate, speech = wavfile.read(dialogue / recording)
        mono = np.asarray(speech if speech.ndim == 1 else speech[:, 0], np.float32) / 32768
        count = places[-1][2] * WAV_RATE // RATE
        samples = np.interp(np.arange(count) / WAV_RATE, np.arange(len(mono)) / rate, mono).astype(np.float32)
        for _, first, end in places:
            for at in (first * WAV_RATE // RATE, end * WAV_RATE // RATE - 1):
                samples[max(0, at - 200) : at + 200] = 0
        for _, first, end in places:
            for at in (first * WAV_RATE // RATE, end * WAV_RATE // RATE - 1):
                samples[at] = CLICK
        wavfile.write(out / f"{name}.wav", WAV_RATE, (samples * 32767).astype(np.int16))


# ---- what must hold ----------------------------------------------------------------------------------------


def clicks(path: Path) -> list[int]:
    """The samples of a movie's or a recording's sound that are clicks."""
    from visualdub.media.audio import read_audio

    return [int(i) for i in np.flatnonzero(np.abs(read_audio(path, WAV_RATE)) > 0.8 * CLICK)]


def clicks_due(clip: EditClip, low: int, high: int, baked: bool, said: Sequence[int]) -> list[int]:
    """Where the clicks `said`, samples of the edit, are due in the sound of a shot that is seen from frame
    `low` to `high`. It starts with its first source frame, which may have begun before the edit shows it.
    """
    lead = Fraction(0)
    if not baked:
        start, _, rate = (Fraction(v).limit_denominator(1001) for v in clip.node["range"])
        rate = Fraction(30000, 1001) if abs(rate - 30) < 0.1 else rate
        warps = [e["scalar"] for e in clip.effects]
        speed = Fraction(warps[0]).limit_denominator(100) if warps else Fraction(1)
        place = start + Fraction(low - clip.start, RATE) * speed * rate
        lead = (place - place // 1) / rate / speed
    per_frame = WAV_RATE // RATE
    return [round(lead * WAV_RATE) + c - low * per_frame for c in said if low <= c // per_frame < high]


def check(out: Path, after: Path, report: Node, places: list[tuple[str, int, int]]) -> Node:
    """Cuts and lengths of both edits, and where the clicks are in the sound of each dubbed shot."""
    from visualdub.edit.reading import read_edit

    old, new = read_edit(out / "cut.otio"), read_edit(after)
    cuts = [(c.name, c.start, c.length, c.shown) for c in old.clips]
    kept = [(c.name, c.start, c.length, c.shown) for c in new.clips if not c.meta.get("baked")]
    found: Node = {"same_cuts": cuts == kept, "same_length": old.frame_count == new.frame_count, "shots": []}
    per_frame = WAV_RATE // RATE
    said = sorted({at for _, a, b in places for at in (a * per_frame, b * per_frame - 1)})
    clips = {(c.name, c.shown): c for c in old.clips}
    for shot in report["shots"]:
        heard: Node | None = None
        if shot["output"] is not None:
            low, high = shot["timeline"]
            due = clicks_due(clips[shot["clip"], (low, high)], low, high, shot["action"] == "bake", said)
            movie = Path(shot["output"])  # without sound where its speed is not that of its dialogue
            words = movie.parents[1] / "dialogue" / f"{movie.stem}_0.wav"
            found_at = clicks(movie if shot["speed"] in (1.0, 0.0, -1.0) else words)
            heard = {"clicks": found_at, "due": due, "in_sync": found_at == due}
        keys = ("number", "clip", "action", "reason", "frames", "drawn")
        found["shots"].append({**{k: shot[k] for k in keys}, "heard": heard})
    return found


def main() -> None:
    """Make the edit, dub it, say what holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of clips")
    parser.add_argument("actors", type=Path, help="folder with hdtf_hill.actor and studio_a.actor")
    parser.add_argument("out", type=Path, help="folder to work in")
    parser.add_argument("--plan", action="store_true", help="print the plan only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    clips, actors, out = (p.absolute() for p in (args.clips, args.actors, args.out))
    made = make_material(clips, out / "material")
    path, places = make_edit(made, out)
    make_dialogue(clips.parent / "dialogue", out, places)
    for name in ("hdtf_hill.actor", "studio_a.actor"):
        if not (out / name).exists():
            (out / name).symlink_to(actors / name)
    options = ["--dialogue-track", "dub", "--cast", str(out / "cast.toml"), "-o", str(out / "dub")]
    command = [sys.executable, "-m", "visualdub.cli", "dub", str(path), *options, *["--plan"] * args.plan]
    status = subprocess.run(command, check=False).returncode
    if args.plan:
        return
    report = json.loads((out / "dub" / "cut.otio.report.json").read_text())
    result = {"status": status, **check(out, out / "dub" / "cut.otio", report, places)}
    print(json.dumps(result, indent=1))
    if args.json:
        save(args.json, result)


def save(path: Path, result: Node) -> None:
    """Write the result as JSON."""
    columns = ("clip", "what became of it", "why", "frames", "drawn", "clicks heard at, samples", "in sync")
    rows = []
    for shot in result["shots"]:
        heard = shot["heard"] or {"clicks": "", "in_sync": ""}
        cells = (shot[k] for k in ("clip", "action", "reason", "frames", "drawn"))
        rows.append((*(str(c) for c in cells), str(heard["clicks"]), str(heard["in_sync"])))
    explained = (
        "An edit of four rates, a dissolve, retimes, a nested stack, a gap, two people and a clip without a"
        " face, dubbed by one command. The dialogue has a click at the first and last sample of each shot."
        f" Cuts identical: {result['same_cuts']}; length identical: {result['same_length']}."
    )
    drawn = sum(shot["drawn"] > 0 for shot in result["shots"])
    synced = sum(shot["heard"] is not None and shot["heard"]["in_sync"] for shot in result["shots"])
    finding = Finding(
        "an edit of every kind of clip, dubbed by one command",
        "every dubbable shot, in sync to the sample; cuts and length identical",
        f"{drawn} of {len(result['shots'])} shots, {synced} of them in sync to the sample at both ends;"
        f" {result['same_cuts']}, {result['same_length']}",
    )
    write_result(path, "An edit of every kind of clip", [explained, table(columns, rows)], [finding])


if __name__ == "__main__":
    main()
