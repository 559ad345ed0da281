"""Speech of people whom the model was not trained on: speakers are left out, and measured before and after
the style is adapted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.experiments.study import run_main
from training.experiments.subjects import append_rows, read_records
from training.experiments.tables import markdown, number, write_page
from training.face.build_face_model import build
from training.speech.adapter import actor_style
from training.speech.clips import SpeechClip, fitted_again, load_clips, synthetic_examples
from training.speech.measure import (
    CLOSED_SHARE,
    ClosureCounts,
    count_closures,
    measure_clip,
    mouth_shape,
    style_values,
)
from training.speech.network import export_onnx
from training.speech.stored_features import StoredFeatures
from training.speech.train import VALIDATION, SpeechConfig, clip_tracker, column_mean, train_ensemble
from training.speech.words import BILABIALS, PAUSES, grid_words, spoken_phones
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.face.models.face468 import read_face_model
from visualdub.face.track import Track
from visualdub.measure.result import Finding
from visualdub.speech.features import WHISPER, FeatureKind
from visualdub.speech.phones import PhoneSpan
from visualdub.speech.predict import predict_motion
from visualdub.speech.style import SpeechStyle
from visualdub.storage import atomic_path
from visualdub.timing import FrameRange

Array = NDArray[np.float64]
FOLDS = 5
SHOWN = ("hdtf_roskam.mp4", "webcam_1.mp4", "stage_2.mp4")  # clips whose openings are plotted
GENERIC, HALF, ADAPTED = "generic", "generic, second half", "adapted on the first half, second half"


@dataclass(frozen=True)
class SpeakerRow:
    """One clip, predicted by a model that was not trained on its speaker."""

    file: str
    speaker: str
    fold: int
    style: str
    seconds: float  # that were measured
    correlation: float
    lip_error: float
    deviation_ratio: float
    # as in `ClosureCounts`, with an opening below CLOSED_SHARE of the tracked median as closed
    bilabials: int
    closed: int
    closures: int
    right: int
    frames: int
    touching: int
    spoken: int
    really_closed: int  # of the bilabials, in the tracked mouth
    really_closures: int  # and so on
    really_right: int
    really_touching: int

    def counts(self, tracked: bool = False) -> ClosureCounts:
        """The closures of the predicted mouth, or of the tracked one."""
        if tracked:
            closures, touching = (self.really_closures, self.really_right), self.really_touching
            return ClosureCounts(
                self.bilabials, self.really_closed, *closures, self.frames, touching, self.spoken
            )
        return ClosureCounts(
            self.bilabials, self.closed, self.closures, self.right, self.frames, self.touching, self.spoken
        )


# ---- folds -------------------------------------------------------------------------------------------------


def folds_of(clips: Sequence[SpeechClip], count: int) -> list[list[str]]:
    """The speakers of the listed clips in `count` parts of about the same length."""
    length: dict[str, int] = {}
    for clip in clips:
        if clip.listed:
            length[clip.speaker] = length.get(clip.speaker, 0) + len(clip.audio)
    parts: list[list[str]] = [[] for _ in range(count)]
    for speaker in sorted(length, key=lambda s: (-length[s], s)):
        min(parts, key=lambda p: sum(length[s] for s in p)).append(speaker)
    return parts


def face_without(speakers: Sequence[str], tracks: dict[str, tuple[str, Track]], path: Path) -> FaceModel:
    """A face model built from the tracks (by file: speaker, track) of all other people, and stored at
    `path`.
    """
    if not path.is_file():
        others = {}
        for file, (speaker, track) in tracks.items():
            points = track.landmarks[:, :468].astype(np.float64)
            if speaker not in speakers:
                others[file] = points[np.isfinite(points).all((1, 2))]
        arrays, _ = build(others)
        with atomic_path(path) as temporary, temporary.open("wb") as f:
            np.savez_compressed(
                f, **{k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
            )
    return read_face_model(path, path.stem)


# ---- one clip ----------------------------------------------------------------------------------------------


def measured(
    clip: SpeechClip, values: Array, model: FaceModel, phones: Sequence[PhoneSpan], frames: FrameRange
) -> dict[str, Any]:
    """The measures over `frames` of a clip of `values` (n, m), the mouth predicted for all its frames."""
    part = slice(frames.start, frames.end_exclusive)
    piece = replace(clip, values=clip.values[part], usable=clip.usable[part])
    figures, real, found = measure_clip(piece, values[part], model)
    below = CLOSED_SHARE * float(np.median(real[piece.usable]))
    speech = [p for p in phones if p.phone not in PAUSES]
    closing = [p for p in phones if p.phone in BILABIALS]
    guess, tracked = (count_closures(o, below, clip.times()[part], speech, closing) for o in (found, real))
    return {
        "seconds": round(len(frames) / float(clip.rate), 2),
        "correlation": round(figures.correlation, 4),
        "lip_error": round(figures.lip_error, 4),
        "deviation_ratio": round(figures.deviation_ratio, 4),
        **asdict(guess),
        **{f"really_{k}": getattr(tracked, k) for k in ("closed", "closures", "right", "touching")},
    }


def clip_rows(
    clip: SpeechClip, fold: int, model: FaceModel, onnx: Path, record: dict[str, Any]
) -> list[SpeakerRow]:
    """The rows of the clip with the generic style, of the whole clip and of its second half, and with the
    style fitted to the first half, of the second half.
    """
    phones = spoken_phones(clip.audio, grid_words(clip.file))
    count = len(clip.values)
    whole, half = FrameRange(0, count), FrameRange(count // 2, count)
    track = replace(clip.track, face_model=record["face_model"])
    first = track.span(FrameRange(track.start, track.start + count // 2))
    style, _ = actor_style(first, clip.aligned_audio(), onnx, model, record)
    plain = replace(style, adapter=(), speech_model="")
    ways = ((GENERIC, None, whole), (HALF, plain, half), (ADAPTED, style, half))
    return [
        SpeakerRow(
            clip.file,
            clip.speaker,
            fold,
            name,
            **measured(clip, mouth_of(clip, model, onnx, way), model, phones, part),
        )
        for name, way, part in ways
    ]


def mouth_of(clip: SpeechClip, model: FaceModel, onnx: Path, style: SpeechStyle | None) -> Array:
    """(n, m) the mouth predicted for a clip. style: measured on a part of it; None: the clip's own
    statistics.
    """
    adapter = np.array(style.adapter) if style and style.adapter else None
    motion = predict_motion(clip.aligned_audio(), clip.rate, len(clip.values), onnx, adapter)
    if style is None:
        return style_values(clip, motion, model)
    mean, scale = np.array(style.mean), np.array(style.scale)
    return style_values(
        replace(clip, mean=mean, scale=scale, offset_from_rest=mean - (clip.mean - clip.offset_from_rest)),
        motion,
        model,
    )


# ---- all of them -------------------------------------------------------------------------------------------


def run(
    clips: Sequence[SpeechClip],
    config: SpeechConfig,
    kind: FeatureKind,
    output: Path,
    tracks: dict[str, tuple[str, Track]],
) -> None:
    """Train the models that are not in `output` yet, fold by fold, measure them, and write table, page and
    plots. kind: of the clips' input features.
    """
    table = output / "speakers.csv"
    synthetic = (
        synthetic_examples(kind, config.seed) if config.mixture.synthetic or config.mixture.english else []
    )
    drawn = {}
    others = [c for c in clips if c.speaker not in VALIDATION]
    for fold, left_out in enumerate(filter(None, folds_of(others, FOLDS))):
        speakers = [*left_out, *VALIDATION]
        model = face_without(speakers, tracks, output / f"face_fold{fold}.npz")
        fitted = [fitted_again(c, model) for c in clips]
        training = [c for c in fitted if c.speaker not in speakers]
        onnx = output / f"speech_fold{fold}.onnx"
        if not onnx.is_file():
            ensemble = train_ensemble(training, model, config, synthetic, print, kind)
            export_onnx(ensemble, onnx, kind, {"face_model": model.name, "n_speech": str(model.n_speech)})
        record = {
            "face_model": model.name,
            "generic": {
                "scale": column_mean([c.scale for c in training]),
                "offset_from_rest": column_mean([c.offset_from_rest for c in training]),
            },
        }
        done = {r.file for r in read_records(SpeakerRow, table)}
        tested = speakers if fold == 0 else left_out
        for clip in (c for c in fitted if c.listed and c.speaker in tested):
            if clip.file not in done:
                rows = clip_rows(clip, fold, model, onnx, record)
                append_rows(table, rows)
                for row in rows:
                    print(
                        f"{row.file}, {row.style}: correlation {row.correlation:.2f}, lip error"
                        f" {row.lip_error:.2f}, deviation ratio {row.deviation_ratio:.2f}, closed"
                        f" {row.closed} of {row.bilabials}",
                        flush=True,
                    )
            if clip.file in SHOWN:
                drawn[clip.file] = openings(clip, model, onnx)
    write(read_records(SpeakerRow, table), output)
    for name, (times, real, found, phones) in drawn.items():
        plot_openings(output / f"opening_{Path(name).stem}.png", name, times, real, found, phones)


def openings(clip: SpeechClip, model: FaceModel, onnx: Path) -> tuple[Array, Array, Array, list[PhoneSpan]]:
    """Times in the audio (n,) in seconds, tracked and predicted opening (n,) of each frame, and the
    phones.
    """
    real, found = (mouth_shape(clip, v, model)[0] for v in (clip.values, mouth_of(clip, model, onnx, None)))
    return clip.times(), real, found, spoken_phones(clip.audio, grid_words(clip.file))


def plot_openings(
    path: Path,
    name: str,
    times: Array,
    real: Array,
    found: Array,
    phones: Sequence[PhoneSpan],
    seconds: float = 6.0,
) -> None:
    """Plot the first `seconds` of both openings over time, with p, b and m shaded and the phones
    underneath.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(13, 3.2), dpi=90)
    first = max(0.0, float(times[0]))
    axis.plot(times, real, color="0.35", label="real")
    axis.plot(times, found, color="tab:orange", label="predicted")
    low = -0.06 * float(real.max())
    for p in phones:
        if first <= p.start < first + seconds and p.phone != "SIL":
            if p.phone in BILABIALS:
                axis.axvspan(p.start, p.end, color="tab:blue", alpha=0.15)
            axis.text((p.start + p.end) / 2, low, p.phone, fontsize=5.5, ha="center", va="top")
    axis.set(
        xlim=(first, first + seconds),
        ylim=(2.4 * low, None),
        title=f"{name}: a speaker whom the model was not trained on",
        xlabel="time in the audio, s; phones underneath, p b m shaded",
        ylabel="lip opening / eye distance",
    )
    axis.legend(loc="upper right")
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix("."))
    plt.close(figure)


def summary(rows: Sequence[SpeakerRow]) -> list[list[str]]:
    """One line for each style: clips, means over clips of correlation, lip error and deviation ratio, then
    bilabials, recall, precision and F1 of closures in per cent, the share of frames with speech that touch,
    and the same of the tracked mouths.
    """
    lines = []
    for style in (GENERIC, HALF, ADAPTED):
        mine = [r for r in rows if r.style == style]
        if not mine:
            continue
        measures = ("correlation", "lip_error", "deviation_ratio")
        means = [float(np.mean([getattr(r, k) for r in mine])) for k in measures]
        guess, real = (sum((r.counts(t) for r in mine), ClosureCounts()) for t in (False, True))
        lines.append(
            [
                style,
                str(len(mine)),
                *(number(m, 3) for m in means),
                str(guess.bilabials),
                *closure_cells(guess),
                " / ".join(closure_cells(real)),
            ]
        )
    return lines


def closure_cells(counts: ClosureCounts) -> list[str]:
    """Recall, precision and F1 in per cent, and the share of frames with speech in which the lips touch."""
    share = counts.touching / counts.frames if counts.frames else float("nan")
    return [number(100 * x, 1) for x in (counts.recall, counts.precision, counts.f1, share)]


def write(rows: Sequence[SpeakerRow], output: Path) -> None:
    """Write the page of everything in the table, and the same as JSON."""
    columns = [
        *("correlation", "lip error", "deviation ratio", "p b m"),
        *("recall %", "precision %", "F1 %", "frames that touch %"),
    ]
    each = [
        [
            r.file,
            r.speaker,
            r.fold,
            r.style,
            number(r.seconds, 1),
            number(r.correlation),
            number(r.lip_error),
            number(r.deviation_ratio),
            r.bilabials,
            *closure_cells(r.counts()),
        ]
        for r in rows
    ]
    others = [r for r in rows if r.speaker not in VALIDATION]
    counts = sum((r.counts() for r in others if r.style == GENERIC), ClosureCounts())
    within = number(100 * counts.spoken / max(counts.frames, 1), 1)
    title = "Speech of people whom the model was not trained on"
    explained = (
        "Every speaker is in one fold; network, face basis and generic style of a fold are of other people."
        f" Means over clips, without those of {', '.join(VALIDATION)}, on whom nothing is trained. Lips touch"
        f" where the opening is below {CLOSED_SHARE:g} of the real clip's median. Recall: the p, b and m in"
        " which they touch. Precision: the stretches of frames with speech in which they touch that are at a"
        f" p, b or m, which fill {within} % of these frames."
    )
    means = markdown(["style", "clips", *columns, "the same of the tracked mouths"], summary(others))
    clips = markdown(["clip", "speaker", "fold", "style", "seconds", *columns], each)
    write_page(output / "speakers.md", title, [explained, means, clips], findings(rows), figures(rows))


def figures(rows: Sequence[SpeakerRow]) -> dict[str, float | int | str]:
    """The means of each style, and those of the speakers on whom nothing is trained, by name."""
    found: dict[str, float | int | str] = {}
    for label, style in (("generic", GENERIC), ("second_half", HALF), ("adapted", ADAPTED)):
        for who, inside in (("", False), ("_validation", True)):
            mine = [r for r in rows if r.style == style and (r.speaker in VALIDATION) == inside]
            for measure in ("correlation", "lip_error", "deviation_ratio"):
                if mine:
                    mean = float(np.mean([getattr(r, measure) for r in mine]))
                    found[f"{label}{who}_{measure}"] = round(mean, 4)
    return found


def findings(rows: Sequence[SpeakerRow]) -> list[Finding]:
    """The rows of the README's table."""
    table = figures(rows)

    def three(name: str) -> str:
        return ", ".join(
            f"{table[f'{name}_{k}']:.3f}" for k in ("correlation", "lip_error", "deviation_ratio")
        )

    found = [
        Finding(
            "speech, speakers left out: correlation, lip error and deviation of the opening",
            "0.81, 0.55, 0.9 to 1.1",
            three("generic"),
        ),
        Finding(
            "... of the second half, style adapted on the first", "0.83, 0.60, 0.9 to 1.1", three("adapted")
        ),
    ]
    if "generic_validation_correlation" in table:
        correlation = table["generic_validation_correlation"]
        found.append(Finding("... of a French speaker, correlation", "0.70", f"{correlation:.3f}"))
    return found


def main(given: Sequence[str]) -> None:
    """`python -m training.experiments.speakers CLIPS -o DIR`: speech of people whom the model was not trained
    on.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("clips", type=Path, metavar="CLIPS", help="folder of clips with their clips.json")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of models, table and plots; resumed",
    )
    parser.add_argument(
        "--members", type=int, default=SpeechConfig().members, metavar="N", help="networks of each fold"
    )
    parser.add_argument(
        "--steps", type=int, default=SpeechConfig().steps, metavar="N", help="of each network"
    )
    parser.add_argument(
        "--tracks", type=Path, metavar="DIR", help="folder of the clips' tracks; default: the common cache"
    )
    parser.add_argument("--no-synthetic", action="store_true", help="train on clips alone")
    options = parser.parse_args(given)
    options.output.mkdir(parents=True, exist_ok=True)
    config = SpeechConfig(members=options.members, steps=options.steps)
    if options.no_synthetic:
        config = replace(config, mixture=replace(config.mixture, synthetic=0, english=0))
    kind = StoredFeatures.of(WHISPER, options.output / "features")
    tracker, tracks = clip_tracker(options.tracks), {}

    def kept(path: Path) -> Track:
        tracks[path.name] = tracker(path)
        return tracks[path.name]

    clips = load_clips(options.clips, kept, face_model(DEFAULT_FACE_MODEL), kind, print)
    speakers = {c.file: c.speaker for c in clips}
    run(clips, config, kind, options.output, {f: (speakers.get(f, f), t) for f, t in tracks.items()})


if __name__ == "__main__":
    run_main(main)
