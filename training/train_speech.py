"""Train the audio-to-expression model on clips with their own sound, and ship it as ONNX with its record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.speech_align import REACH, REACH_GIVEN, align, find_offset
from training.speech_data import Hearing, SpeechClip, hear, load_clips, unspoken_sounds
from training.speech_measure import SpeechFigures, mean_figures, measure_clip, style_values
from training.speech_model import SpeechNet, Spoken, export_onnx
from visualdub.errors import BadInput
from visualdub.face.landmarks import INNER_LIP_PAIRS, LIPS
from visualdub.face.model import FaceModel, load_face_model
from visualdub.face.track import Track
from visualdub.face.tracker import track_clip
from visualdub.speech import features
from visualdub.speech.features import feature_kind
from visualdub.speech.predict import MODEL, predict_motion
from visualdub.speech.voice import STEP_RATE
from visualdub.tracking import cached_track

HELD_OUT = ("hill", "studio_b", "roskam", "radio22", "webcam", "stage")

@dataclass(frozen=True)
class SpeechConfig:
    """How the model is trained."""

    features: str = "both"  # phone, mel, both or wav2vec2
    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 8)  # in steps of 20 ms
    dropout: float = 0.4
    steps: int = 400
    batch: int = 24
    window: int = 150  # steps of 20 ms a sample is long
    rate: float = 2e-3  # AdamW, one cycle
    decay: float = 0.05
    members: int = 4  # networks whose mean is shipped
    lip_weight: float = 1.0  # lip vertices
    velocity_weight: float = 0.1  # their change from step to step; 2.0 cost 0.08 of the held-out correlation
    opening_weight: float = 1.0
    parameter_weight: float = 0.2  # every parameter in units of the actor
    voice_weight: float = 0.3
    unspoken: float = 0.1  # share of the samples that is noise or music
    spread: float = 0.95  # of the opening, against the real one, that the shipped model is stretched to
    seed: int = 0


def lip_jacobian(model: FaceModel, clip: SpeechClip) -> NDArray[np.float64]:
    """(m, 3 L + 1) change of the lip vertices, and of the opening, by one unit of each parameter, over their own deviation."""
    count = len(clip.gain)
    points = np.repeat(clip.centre[None], count + 1, 0)
    points[1:] += np.diag(clip.gain) * 0.1
    expression = np.zeros((count + 1, model.n_expression))
    expression[:, :model.n_speech] = points[:, 1:]
    mesh = model.vertices(clip.track.identity, points[:, 0], expression)
    lips = mesh[:, list(LIPS)].reshape(count + 1, -1)
    gap = mesh[:, [b for _, b in INNER_LIP_PAIRS], 1].mean(1) - mesh[:, [a for a, _ in INNER_LIP_PAIRS], 1].mean(1)
    slopes = [(x[1:] - x[0]) / 0.1 for x in (lips, gap)]
    motion = clip.motion[clip.usable]
    lip_scale, gap_scale = np.sqrt((motion @ slopes[0]).var(0).sum()), (motion @ slopes[1]).std()
    return np.column_stack([slopes[0] / lip_scale, slopes[1] / gap_scale])


class Windows:
    """Random windows of the training clips, each heard in several ways, augmented. All of one hearing lies on one 20 ms clock."""

    def __init__(self, clips: list[SpeechClip], model: FaceModel, config: SpeechConfig) -> None:
        self.config, self.random = config, np.random.default_rng(config.seed)
        self.kind = feature_kind(config.features)
        self.hearings = [[hear(c, sound) for sound in c.sounds] for c in clips]
        self.jacobian = [lip_jacobian(model, c).astype(np.float32) for c in clips]
        seconds = np.array([len(c.audio) for c in clips], float)
        self.chance = seconds**0.7 / (seconds**0.7).sum()  # long clips more often, but one speaker must not fill the batch
        width = len(clips[0].gain)
        self.unspoken = [Hearing(s.features, np.zeros((len(s.voice), width), np.float32), s.voice, s.voice)
                         for s in (unspoken_sounds(config.seed, self.kind) if config.unspoken else ())]

    def batch(self) -> dict[str, Tensor]:
        """One batch: features (N, T, width), motion (N, T, m), weight and voice (N, T), jacobian (N, m, 3 L + 1)."""
        rows = [self._sample(int(self.random.choice(len(self.chance), p=self.chance))) for _ in range(self.config.batch)]
        return {k: torch.from_numpy(np.stack([r[k] for r in rows])) for k in rows[0]}

    def _sample(self, i: int) -> dict[str, NDArray[Any]]:
        choices = self.unspoken if self.random.random() < self.config.unspoken else self.hearings[i]
        hearing = choices[int(self.random.integers(len(choices)))]
        length, total = self.config.window, len(hearing.voice)
        first = int(self.random.integers(min(0, total - length), max(1, total - length + 1)))
        a, b = max(0, first), min(total, first + length)

        def window(values: NDArray[Any], empty: float) -> NDArray[Any]:
            out = np.full((length, *values.shape[1:]), empty, values.dtype)
            out[a - first:b - first] = values[a:b]
            return out

        return {"features": self._augment(window(hearing.features, -1.0)), "motion": window(hearing.motion, 0.0),
                "weight": window(hearing.weight, 0.0), "voice": window(hearing.voice, 0.0), "jacobian": self.jacobian[i]}

    def _augment(self, heard: NDArray[np.float32]) -> NDArray[np.float32]:
        """Another microphone and a worse recogniser: the bands, the phones and what else there is, each in its own way."""
        bands, end = self.kind.bands, self.kind.bands + self.kind.phones
        mel, phones, other = (part.astype(np.float64) for part in (heard[:, :bands], heard[:, bands:end], heard[:, end:]))
        if bands:
            self._augment_bands(mel)
        if self.kind.phones:
            phones = self._augment_columns(phones - 1, 0.08, -1.5) + 1
        if other.shape[1]:
            other = self._augment_columns(other, 0.1, 0.0)
        return np.asarray(np.concatenate([np.maximum(mel, -1.0), phones, other], 1), np.float32)

    def _augment_bands(self, mel: NDArray[np.float64]) -> None:
        """Tilt and wobble of the bands, some of them masked. (T, bands), in place."""
        r, bands = self.random, mel.shape[1]
        wobble = np.convolve(r.normal(0, 0.12, bands), np.ones(5) / 5, "same")
        tilt = np.linspace(-1, 1, bands) * float(r.normal(0, 0.08))
        mel += wobble + tilt + float(r.normal(0, 0.03))
        start, width = int(r.integers(0, bands)), int(r.integers(0, 9))
        mel[:, start:start + width] = -1.0 if r.random() < 0.3 else mel.mean()

    def _augment_columns(self, values: NDArray[np.float64], noise: float, masked: float) -> NDArray[np.float64]:
        """Values (T, C) less or more sure, noise of this deviation added, one column in ten `masked`."""
        r = self.random
        values = values * r.uniform(0.6, 1.2) + r.normal(0, noise, values.shape)
        values[:, np.flatnonzero(r.random(size=values.shape[1]) < 0.1)] = masked
        return values


def loss_of(net: SpeechNet, batch: dict[str, Tensor], config: SpeechConfig) -> Tensor:
    """The sum of all terms; every one is about 1 for a still mouth."""
    motion, voice = net(batch["features"])
    error = (motion - batch["motion"]) * batch["weight"][..., None]
    shape = error @ batch["jacobian"]
    lips, opening = shape[..., :-1], shape[..., -1]
    count = batch["weight"].sum()
    velocity = (lips[:, 1:] - lips[:, :-1]) * (batch["weight"][:, 1:] * batch["weight"][:, :-1])[..., None]
    total = (config.lip_weight * lips.square().sum() + config.velocity_weight * 10 * velocity.square().sum()
             + config.opening_weight * opening.square().sum() + config.parameter_weight * error.square().mean(-1).sum()) / count
    voice_loss = torch.nn.functional.binary_cross_entropy_with_logits(voice, batch["voice"])
    return torch.as_tensor(total + config.voice_weight * voice_loss)


def train_member(clips: list[SpeechClip], model: FaceModel, config: SpeechConfig,
                 progress: Callable[[int, float], None] | None = None) -> SpeechNet:
    """One network, from `config.seed`."""
    torch.manual_seed(config.seed)
    net = SpeechNet(feature_kind(config.features).width, len(clips[0].gain), config.channels, config.dilations, config.dropout)
    windows = Windows(clips, model, config)
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, total_steps=config.steps, pct_start=0.1)
    for step in range(config.steps):
        loss = loss_of(net, windows.batch(), config)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, float(loss.detach()))
    return net.eval()


def opening_gain(clips: list[SpeechClip], slopes: dict[str, NDArray[np.float64]], gain: float) -> Tensor:
    """(m, m) matrix for rows of motion: the part of the motion that goes with lip opening times `gain`, the rest as it is.

    Regression shrinks what it cannot know; only the opening is stretched again, or unpredictable parameters would wander.
    """
    motion = np.concatenate([c.motion[c.usable] for c in clips])
    opening = np.concatenate([(c.motion @ slopes[c.file])[c.usable] for c in clips])
    slope = np.linalg.lstsq(motion, opening, rcond=None)[0]
    pattern = motion.T @ opening / (opening @ opening)
    matrix = np.eye(len(slope)) + (gain - 1) * np.outer(slope, pattern) / (slope @ pattern)
    return torch.tensor(matrix, dtype=torch.float32)


def clip_tracker(folder: Path | None) -> Callable[[Path], Track]:
    """A tracker that keeps its tracks in `folder`, by default in the cache of all commands."""
    def tracked(path: Path) -> Track:
        if folder is None:
            return cached_track(path)[0]
        kept = folder / f"{path.name}.npz"
        if not kept.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            track_clip(path).save(kept)
        return Track.load(kept)

    return tracked


def validate(clips: list[SpeechClip], model: FaceModel, onnx: Path,
             say: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of the exported model, run as a dub runs it, on held-out clips: (means over clips, one row for each clip).

    Each clip speaks with its own statistics. `as_given`: the clips of known offset, at that offset. `corrected`: all clips at
    the offset that fits best within REACH_GIVEN of a given one, REACH where none is known.
    """
    given: list[SpeechFigures] = []
    corrected: list[SpeechFigures] = []
    table: dict[str, Any] = {}
    for clip in clips:
        slope = lip_jacobian(model, clip)[:, -1]
        heard = predict_motion(clip.audio, Fraction(STEP_RATE), features.feature_count(len(clip.audio)), onnx)
        opening = np.column_stack([heard.jaw, heard.expression]) @ slope
        offset, _ = find_offset(clip, opening, slope, REACH_GIVEN if clip.offset_known else REACH)
        corrected.append(run_clip(clip.shifted(offset), model, onnx))
        table[clip.file] = {"offset_ms": round(1000 * offset), **rounded(asdict(corrected[-1]))}
        if clip.offset_known:
            given.append(run_clip(clip, model, onnx))
            table[clip.file]["as_given"] = {"offset_ms": round(1000 * clip.offset), **rounded(asdict(given[-1]))}
        say(f"{clip.file}: {table[clip.file]}")
    return {"corrected": {"clips": len(corrected), **mean_figures(corrected)},
            "as_given": {"clips": len(given), **mean_figures(given)}}, table


def run_clip(clip: SpeechClip, model: FaceModel, onnx: Path) -> SpeechFigures:
    """Figures of the exported model on one clip at the clip's offset."""
    motion = predict_motion(clip.aligned_audio(), clip.rate, len(clip.values), onnx)
    return measure_clip(clip, style_values(clip, motion), model)[0]


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Four decimals are enough for a record."""
    return {k: round(float(v), 4) for k, v in values.items()}


def main(clips: Path, out: Path | None = None, steps: int | None = None, seed: int = 0, tracks: Path | None = None,
         say: Callable[[str], None] = print, listen: str = "both") -> dict[str, Any]:
    """Train on the clips listed in `clips`/clips.json whose sound is their own; write `out` (.onnx) and its record (.json).

    out: by default the model inside the package. steps: of each network, by default the configuration's. tracks: folder that
    keeps the tracks of the clips, by default the common cache. listen: the features, as `feature_kind` names them. Speakers in
    HELD_OUT are measured, never trained on. Returns the record. Raises `BadInput` where `clips` holds no list of clips.
    """
    start = time.monotonic()
    config = SpeechConfig(features=listen, seed=seed)
    config, kind = config if steps is None else replace(config, steps=steps), feature_kind(listen)
    model, out = load_face_model(), out or MODEL
    if not (clips / "clips.json").is_file():
        raise BadInput(f"{clips} holds no clips.json; expected a folder of clips with their list")
    loaded = load_clips(clips, clip_tracker(tracks), model, kind)
    training, held = ([c for c in loaded if (c.speaker in HELD_OUT) == side] for side in (False, True))
    slopes = {c.file: lip_jacobian(model, c)[:, -1] for c in loaded}
    quick = replace(config, steps=max(1, config.steps // 2))
    aligned = align(training, slopes, lambda part, turn: train_member(part, model, replace(quick, seed=seed + 100 + turn)), say)
    members = []
    for i in range(config.members):
        def progress(step: int, loss: float, member: int = i) -> None:
            if step % 100 == 0:
                say(f"network {member + 1} of {config.members}, step {step} of {config.steps}, loss {loss:.3f}")

        members.append(train_member(aligned.clips, model, replace(config, seed=seed + i), progress))
    gain = config.spread / aligned.shrinkage(config.members)
    spoken = Spoken(members, opening_gain(aligned.clips, slopes, gain))
    export_onnx(spoken, out, kind, {"face_model": model.name, "n_speech": str(model.n_speech)})
    mean, rows = validate(held, model, out, say)
    record = {
        "format": 1, "face_model": model.name, "n_speech": model.n_speech, "features": kind.name, "config": asdict(config),
        "clips": {c.file: {"speaker": c.speaker, "offset_ms": round(1000 * c.offset), "offset_given": c.offset_known}
                  for c in aligned.clips},
        "skipped": aligned.skipped, "held_out_speakers": list(HELD_OUT), "opening_gain": round(gain, 3),
        "generic": {"gain": column_mean([c.gain for c in aligned.clips]), "lift": column_mean([c.lift for c in aligned.clips])},
        "validation": mean, "validation_clips": rows, "training_seconds": round(time.monotonic() - start),
        "size_bytes": out.stat().st_size}
    write_record(record, out.with_suffix(".json"))
    say(f"{out}: {mean}")
    return record


def column_mean(rows: list[NDArray[np.float64]]) -> list[float]:
    """Mean over clips of each parameter."""
    return [round(float(x), 5) for x in np.mean(rows, axis=0)]


def write_record(record: dict[str, Any], path: Path) -> None:
    """The record as JSON, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    import typer

    def command(clips: Path, out: Path | None = None, steps: int | None = None, seed: int = 0,
                tracks: Path | None = None, features: str = "both") -> None:
        """Train the speech model on a folder of clips with their list."""
        main(clips, out, steps, seed, tracks, listen=features)

    typer.run(command)
