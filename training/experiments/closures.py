"""Lips that touch in p, b and m of real speech, counted both ways: by the phone head and by a script; against
words that PocketSphinx aligned, and against the lips of the tracked mouth.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.experiments.study import run_main
from training.speech.clips import SpeechClip, measured_clip, speaker_offset
from training.speech.measure import CLOSED_SHARE, SLACK_S, ClosureCounts, count_closures, style_values
from training.speech.train import clip_tracker
from training.speech.words import BILABIALS, PAUSES, grid_words, spoken_phones
from visualdub.errors import BadInput
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.measure.result import Finding, table, write_result
from visualdub.speech.alignment import LEAST_CONFIDENCE, Alignment, align, align_script
from visualdub.speech.closure import lip_offsets
from visualdub.speech.features import RATE
from visualdub.speech.phones import PhoneSpan, lips_of, phone_scores
from visualdub.speech.predict import predict_motion
from visualdub.speech.script import read_script

Array = NDArray[np.float64]
WAYS_TOLD = ("script", "phone_head")
WAYS = ("phone head", "script", "tracked mouth")


@dataclass(frozen=True)
class ClipCounts:
    """The closures of one clip, by the way they were made, against the words and the tracked mouth."""

    file: str
    words: dict[str, ClosureCounts]
    mouth: dict[str, ClosureCounts]
    border_errors: list[float]  # seconds between our begins of words and PocketSphinx's


# ---- one clip ----------------------------------------------------------------------------------------------


def script_of(clip: SpeechClip) -> Alignment | None:
    """The words of a GRID clip, aligned; None for other clips."""
    words = grid_words(clip.file)
    if words is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "script.txt"
        path.write_text(words.replace(".", ""), encoding="utf-8")
        return align_script(clip.audio, read_script(path, "en-gb"))


def mouths(clip: SpeechClip, script: Alignment | None, model: FaceModel) -> Iterator[tuple[str, Array]]:
    """The gap (n,) of the clip's lips in each of WAYS."""
    motion = predict_motion(clip.aligned_audio(), clip.rate, len(clip.values))
    yield WAYS[0], lip_gap(clip, style_values(clip, motion, model), model)
    if script is not None:
        closure, parted = lips_of(script.phones(), clip.times(), float(clip.rate))
        scripted = replace(motion, closure=closure, parted=parted)
        yield WAYS[1], lip_gap(clip, style_values(clip, scripted, model), model)
    yield WAYS[2], lip_gap(clip, clip.values, model)


def lip_gap(clip: SpeechClip, values: Array, model: FaceModel) -> Array:
    """(n,) mean gap of the inner lips, in distances between the outer eye corners; 0 where they overlap.

    The depth of one lip behind the other, which an opening in 3D holds too, is no gap.
    """
    return np.asarray(np.maximum(lip_offsets(model, clip.track.identity, values)[..., 0], 0.0).mean(1))


def within(spans: Sequence[PhoneSpan], times: Array, slack: float = 0.0) -> NDArray[np.bool_]:
    """(n,) whether each of `times` lies in one of the spans, or at most `slack` seconds outside it."""
    inside = np.zeros(len(times), bool)
    for p in spans:
        inside |= (times >= p.start - slack) & (times <= p.end + slack)
    return inside


def without_rest(
    opening: Array, below: float, in_speech: NDArray[np.bool_], near: NDArray[np.bool_]
) -> Array:
    """The opening (n,), infinite while lips rest: where they touch from a pause into speech, or from speech
    into a pause, and no bilabial is `near` (n,).
    """
    found = opening.copy()
    edges = np.flatnonzero(np.diff(np.pad(opening < below, 1).astype(int)))
    for a, b in edges.reshape(-1, 2):
        if not in_speech[a:b].all() and not near[a:b].any():
            found[a:b] = np.inf
    return found


def stretches(touching: NDArray[np.bool_], times: Array) -> list[PhoneSpan]:
    """The stretches of frames in which lips touch, as if each were a bilabial."""
    edges = np.flatnonzero(np.diff(np.pad(touching, 1).astype(int)))
    return [PhoneSpan("m", float(times[a]), float(times[b - 1])) for a, b in edges.reshape(-1, 2)]


def count_clip(clip: SpeechClip, model: FaceModel) -> ClipCounts | None:
    """The closures of a clip; None where PocketSphinx knows no words."""
    phones = spoken_phones(clip.audio, grid_words(clip.file))
    speech = [p for p in phones if p.phone not in PAUSES]
    bilabials = [p for p in phones if p.phone in BILABIALS]
    if not bilabials:
        return None
    script = script_of(clip)
    times, openings = clip.times(), dict(mouths(clip, script, model))
    below = CLOSED_SHARE * float(np.median(openings[WAYS[2]][clip.usable]))
    in_speech = within(speech, times)
    near = within(bilabials, times, SLACK_S)
    openings = {w: without_rest(o, below, in_speech, near) for w, o in openings.items()}
    tracked = openings[WAYS[2]]
    own = stretches((tracked < below) & in_speech, times)
    return ClipCounts(
        clip.file,
        {w: count_closures(o, below, times, speech, bilabials) for w, o in openings.items()},
        {w: count_closures(o, below, times, speech, own) for w, o in openings.items()},
        [] if script is None else begins_off(script, phones),
    )


def begins_off(script: Alignment, phones: Sequence[PhoneSpan]) -> list[float]:
    """Seconds between the begin of each of our bilabials and PocketSphinx's nearest one."""
    others = np.array([p.start for p in phones if p.phone in BILABIALS])
    ours = [p.start for w in script.words for p in w.phones if p.phone in ("p", "b", "m")]
    return [float(np.abs(others - start).min()) for start in ours]


# ---- scripts -----------------------------------------------------------------------------------------------


def script_fits(clips: Sequence[SpeechClip]) -> tuple[list[float], list[float]]:
    """How well the sentence of each GRID clip fits its sound, and how well each other one does; 0 where it
    does not fit in.
    """
    own, other = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        scripts = {}
        for clip in clips:
            path = Path(folder) / f"{clip.file}.txt"
            path.write_text((grid_words(clip.file) or "").replace(".", ""), encoding="utf-8")
            scripts[clip.file] = read_script(path, "en-gb")
    for clip in clips:
        scores = phone_scores(clip.audio)
        for file, script in scripts.items():
            found = align(scores, script.words, len(clip.audio) / RATE)
            (own if file == clip.file else other).append(0.0 if found is None else found.confidence)
    return own, other


# ---- all clips ---------------------------------------------------------------------------------------------


def clips_of(folder: Path, tracks: Path | None, only_grid: bool, model: FaceModel) -> Iterator[SpeechClip]:
    """The listed clips whose audio is their speaker's, one after another."""
    tracked = clip_tracker(tracks)
    for entry in json.loads((folder / "clips.json").read_text(encoding="utf-8")):
        if entry.get("speech") != "original" or (only_grid and not entry["file"].startswith("grid_")):
            continue
        track = tracked(folder / entry["file"])
        offset, line = speaker_offset(folder / entry["file"], track, True)
        print(line, flush=True)
        if offset is not None:
            yield measured_clip(folder, entry, track, model, offset)


def share(counts: ClosureCounts) -> list[str]:
    """Recall, precision and F1 in per cent, and the shares of frames that touch and that should."""
    per_cent = [f"{100 * x:.0f}" for x in (counts.recall, counts.precision, counts.f1)]
    frames = max(counts.frames, 1)
    return [*per_cent, f"{100 * counts.touching / frames:.0f}", f"{100 * counts.spoken / frames:.0f}"]


def _rate(figures: dict[str, float], way: str, which: str) -> str:
    return f"{100 * figures[f'grid_{way}_words_{which}']:.0f}"


def save(path: Path, rows: Sequence[ClipCounts], fits: tuple[list[float], list[float]]) -> None:
    """Print the tables and write the result as JSON."""
    lines: list[list[Any]] = []
    figures: dict[str, float] = {}
    groups = {
        "GRID": [r for r in rows if r.file.startswith("grid_")],
        "others": [r for r in rows if not r.file.startswith("grid_")],
    }
    for group, part in groups.items():
        for against in ("words", "mouth"):
            for way in WAYS:
                counts = [getattr(r, against)[way] for r in part if way in getattr(r, against)]
                if not counts or (against, way) == ("mouth", "tracked mouth"):
                    continue
                total = sum(counts, ClosureCounts())
                lines.append([f"{group}, {way}, against the {against}", total.bilabials, *share(total)])
                key = f"{group}_{way}_{against}".replace(" ", "_").lower()
                figures[f"{key}_recall"] = round(total.recall, 4)
                figures[f"{key}_precision"] = round(total.precision, 4)
                figures[f"{key}_f1"] = round(total.f1, 4)
    errors = 1000 * np.array([e for r in rows for e in r.border_errors])
    figures["grid_bilabial_begin_median_ms"] = round(float(np.median(errors)), 1)
    figures["grid_bilabial_begin_p90_ms"] = round(float(np.percentile(errors, 90)), 1)
    own, other = fits
    figures["grid_true_scripts_refused"] = sum(f < LEAST_CONFIDENCE for f in own)
    figures["grid_wrong_scripts_accepted"] = sum(f >= LEAST_CONFIDENCE for f in other)
    figures["grid_true_script_smallest"], figures["grid_wrong_script_largest"] = min(own), max(other)
    scripts = (
        f"Of {len(own)} true scripts of GRID's clips {figures['grid_true_scripts_refused']} are refused, of"
        f" {len(other)} wrong ones (GRID's other sentences, which share words)"
        f" {figures['grid_wrong_scripts_accepted']} are not, by a least confidence of {LEAST_CONFIDENCE:g};"
        f" the true ones fit by {min(own):.2f} or more, the wrong ones by {max(other):.2f} or less."
    )
    columns = ("clips, way", "closures", "recall, %", "precision, %", "F1, %", "touching, %", "spoken, %")
    text = table(columns, lines)
    print(text, figures, sep="\n", flush=True)
    explained = (
        "Frames in which the gap of the lips of the tracked or predicted mouth is less than"
        f" {CLOSED_SHARE:.0%} of the tracked mouth's median one; lips that overlap have none, and those"
        " that touch from speech into a pause, or the other way, are at rest and not counted. Against the"
        " words: p, b and m where PocketSphinx, which nothing here was trained with, aligns GRID's sentence,"
        " or the words that it recognises in other clips. Against the mouth: the stretches in which the"
        " tracked lips touch while somebody speaks. The tracked mouth against the words is what real lips and"
        " these times allow. The mouth is the generic one with the clip's own statistics. The speech model"
        " was trained on most of these clips, the phone head, which closes the lips, on none."
    )
    finding = Finding(
        "p, b, m of GRID's sentences: recall / precision with the script, and without it",
        "95 / 90 %, 85 / 70 %",
        "; ".join(f"{_rate(figures, w, 'recall')} / {_rate(figures, w, 'precision')} %" for w in WAYS_TOLD),
    )
    write_result(path, "Closures", [explained, text, scripts], [finding], figures)


def main(given: Sequence[str]) -> int:
    """`python -m training.experiments.closures CLIPS --json FILE`: closures counted both ways."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("clips", type=Path, help="folder with clips.json")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the result")
    parser.add_argument("--tracks", type=Path, metavar="DIR", help="the clips' tracks; default: the cache")
    parser.add_argument("--grid", action="store_true", help="the clips of the GRID corpus alone")
    options = parser.parse_args(given)
    model = face_model(DEFAULT_FACE_MODEL)
    clips = clips_of(options.clips, options.tracks, options.grid, model)
    rows, grid = list[ClipCounts](), list[SpeechClip]()
    for clip in clips:
        counts = count_clip(clip, model)
        rows += [] if counts is None else [counts]
        grid += [] if grid_words(clip.file) is None else [clip]
    if not grid:
        raise BadInput(f"{options.clips} lists no clip of the GRID corpus; expected some")
    save(options.json, rows, script_fits(grid))
    return 0


if __name__ == "__main__":
    run_main(main)
