"""What the tracker itself makes of one mouth in two recordings: each clip against a smaller copy of it that
was encoded again. No speech model can come closer to the tracked mouth than the tracker does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from training.experiments.tables import number
from training.speech.clips import SpeechClip, mouth_statistics, trained_clips
from training.speech.measure import measure_clip
from training.speech.train import clip_tracker
from visualdub.errors import VisualDubError
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.face.track import Track
from visualdub.face.tracker import track_clip
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.delivery import Codec
from visualdub.media.movie_writer import MovieWriter, picture_info, rgb_frame
from visualdub.media.source import open_source
from visualdub.media.square import shown_rgb
from visualdub.speech.style import speech_parameters

SCALE, CRF = 0.75, 28  # of the copy: its size to the clip's, and its H.264 quality


@dataclass(frozen=True)
class NoiseRow:
    """One clip and its copy."""

    file: str
    correlation: float  # of the inner-lip opening
    lip_error: float  # as a ratio to a still mouth
    deviation_ratio: float  # copy / clip


def write_copy(clip: Path, path: Path) -> None:
    """Write the pictures of `clip`, `SCALE` times as large, to `path`, as H.264 of quality `CRF`."""
    with open_source(clip) as source:
        first = shown_rgb(next(iter(source.frames())))
        width, height = (round(SCALE * n) for n in first.shape[1::-1])
        info = picture_info(path, width, height, source.info.rate, source.info.frame_count)
        with MovieWriter(path, info, Codec("h264", CRF)) as writer:
            for i, frame in enumerate(source.frames()):
                picture = cv2.resize(shown_rgb(frame), (width, height), interpolation=cv2.INTER_AREA)
                writer.write(rgb_frame(np.asarray(picture, np.uint8), info.image, i))


def compare(file: str, speaker: str, track: Track, copy: Track, model: FaceModel) -> NoiseRow:
    """The mouth of the track of a clip's copy against that of the clip's own."""
    silence = np.zeros(1, np.float32)
    clip = SpeechClip(
        file, speaker, track.rate, 0.0, True, silence, (), track, *mouth_statistics(track, model), ()
    )
    values = speech_parameters(copy, 1 + model.n_speech)
    both = replace(clip, usable=clip.usable & copy.usable & np.isfinite(values).all(1))
    figures = measure_clip(both, values, model)[0]
    return NoiseRow(file, figures.correlation, figures.lip_error, figures.deviation_ratio)


def rows(folder: Path, tracks: Path | None) -> Iterator[NoiseRow]:
    """A row for each clip of `folder` whose audio is listed as its speaker's and that models may learn."""
    tracker, model = clip_tracker(tracks), face_model(DEFAULT_FACE_MODEL)
    with tempfile.TemporaryDirectory() as scratch:
        for entry in trained_clips(folder):
            if entry["speech"] != "original":
                continue
            clip, copy = folder / entry["file"], Path(scratch) / "copy.mp4"
            try:
                write_copy(clip, copy)
                yield compare(entry["file"], entry["speaker"], tracker(clip), track_clip(copy), model)
            except VisualDubError as e:
                print(f"{entry['file']}: not measured: {e}", flush=True)


def main(given: Sequence[str] | None = None) -> None:
    """`python -m training.experiments.tracker_noise CLIPS [--json FILE]`: print a line for each clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, help="folder of clips with their clips.json")
    parser.add_argument("--tracks", type=Path, metavar="DIR", help="folder of the clips' tracks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args(given)
    found = []
    for row in rows(args.clips, args.tracks):
        found.append(row)
        print(f"{row.file}: correlation {row.correlation:.3f}, lip error {row.lip_error:.3f}", flush=True)
    means = {k: float(np.mean([getattr(r, k) for r in found])) for k in list(asdict(found[0]))[1:]}
    print(f"mean of {len(found)}", {k: round(v, 3) for k, v in means.items()})
    if args.json:
        save(args.json, found, means)


def save(path: Path, found: Sequence[NoiseRow], means: dict[str, float]) -> None:
    """Write the result as JSON."""
    text = (
        f"Every clip against a copy {SCALE:g} times as large, H.264 of quality {CRF}: both are tracked, and"
        " the copy's mouth is measured as a predicted one is, as by `training.experiments.speakers`. No"
        " prediction can come closer to a tracked mouth than this."
    )
    cells = [(r.file, *(number(v, 3) for v in list(asdict(r).values())[1:])) for r in found]
    cells.append(("mean", *(number(v, 3) for v in means.values())))
    lines = table(("clip", "correlation", "lip error", "deviation ratio"), cells)
    finding = Finding(
        "the tracker against itself on a smaller, re-encoded copy: correlation of the opening, lip error",
        "",
        f"{means['correlation']:.3f}, {means['lip_error']:.3f} (mean of {len(found)} clips)",
    )
    figures = {k: round(v, 4) for k, v in means.items()}
    write_result(path, "The tracker's own noise", [text, lines], [finding], {"clips": len(found), **figures})


if __name__ == "__main__":
    main()
