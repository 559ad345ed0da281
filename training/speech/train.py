"""Trains the speech model on clips whose audio is their speaker's, and writes it as ONNX with its record."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from training.speech.adapter import stretched
from training.speech.clips import SpeechClip, SyntheticExample, load_clips, synthetic_examples
from training.speech.measure import SpeechFigures, mean_figures, measure_clip, style_values
from training.speech.network import SpeechEnsemble, SpeechNet, export_onnx
from training.speech.stored_features import StoredFeatures
from training.speech.windows import Mixture, Windows, lip_jacobian
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track, track_clip
from visualdub.speech.features import WHISPER, FeatureKind
from visualdub.speech.predict import MODEL, predict_motion
from visualdub.storage import write_text

VALIDATION = ("macron",)  # speakers of another language, on whom nothing is ever trained
HELD_OUT = ("hill", "studio_b", "roskam", "radio22", "webcam", "stage")


@dataclass(frozen=True)
class SpeechConfig:
    """The configuration of a training."""

    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4)  # in steps of 20 ms
    dropout: float = 0.3
    steps: int = 300
    mixture: Mixture = field(default_factory=lambda: Mixture(16, 6, 6, 128, 0.06, 0.3, 0.15))
    rate: float = 2e-3  # learning rate of AdamW, one cycle
    decay: float = 0.05  # weight decay
    members: int = 3  # networks whose mean is exported; one alone has 0.01 more of the lip error
    lip_weight: float = 1.0  # of the error of lip vertices
    # of the error of their change from step to step; 2.0 cost 0.08 of the held-out correlation
    velocity_weight: float = 0.1
    opening_weight: float = 1.0  # of the error of the opening
    parameter_weight: float = 0.2  # of the error of every parameter, relative to the actor's deviation
    voice_weight: float = 0.3  # of speech activity
    synthetic_weight: float = 0.3  # of the opening in synthetic sentences
    contact_weight: float = 0.5  # of touching lips
    apart_weight: float = 1.0  # amount by which a deviation of opening lowers the logit of touching lips
    # factor on the opening, which regression shrinks; a mouth that moves too little mumbles
    stretch: float = 1.17
    # share of the clips' windows without their speaker's style code, as for other people
    unstyled: float = 0.5
    seed: int = 0


def loss_of(net: SpeechNet, batch: dict[str, Tensor], config: SpeechConfig) -> Tensor:
    """The sum of all losses, a scalar; those of clips are about 1 for a still mouth."""
    style = net.styles(batch["person"], len(batch["features"]), config.unstyled)
    motion, voice, contact = net(batch["features"], style)
    count, weight = len(batch["motion"]), batch["weight"]
    error = (motion[:count] - batch["motion"]) * weight[..., None]
    lips, opening = error @ batch["metric"], (error * batch["slope"][:, None]).sum(-1)
    velocity = (lips[:, 1:] - lips[:, :-1]) * (weight[:, 1:] * weight[:, :-1])[..., None]
    total = (
        config.lip_weight * lips.square().sum()
        + config.velocity_weight * 10 * velocity.square().sum()
        + config.opening_weight * opening.square().sum()
        + config.parameter_weight * error.square().mean(-1).sum()
    )
    total = total / weight.sum() + config.voice_weight * binary_cross_entropy_with_logits(
        voice[:count], batch["voice"]
    )
    touching = _contact_loss(contact[:count], batch["contact"], batch["contact_known"])
    total = total + config.contact_weight * touching
    if "synthetic_known" in batch:
        total = total + _synthetic_loss(motion[count:], contact[count:], batch, config)
    return torch.as_tensor(total)


def _synthetic_loss(
    motion: Tensor, contact: Tensor, batch: dict[str, Tensor], config: SpeechConfig
) -> Tensor:
    """The losses of opening and touching lips in synthetic sentences, whose targets come from their
    phones.
    """
    known = batch["synthetic_known"]
    error = motion @ batch["generic_slope"] - batch["synthetic_opening"]
    opening = (error.square() * batch["opening_known"]).sum() / known.sum()
    return config.synthetic_weight * opening + config.contact_weight * _contact_loss(
        contact, batch["synthetic_contact"], known
    )


def _contact_loss(contact: Tensor, touching: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy of the logits of touching lips (n, T) where `known` is 1. Lips that should touch and do
    not are the error people notice, so a step in which they touch counts twice.
    """
    total = binary_cross_entropy_with_logits(contact, touching, known * (1 + touching), reduction="sum")
    return total / known.sum().clamp(min=1.0)


def train_member(
    clips: list[SpeechClip],
    model: FaceModel,
    config: SpeechConfig,
    synthetic: list[SyntheticExample],
    progress: Callable[[int, float], None] | None = None,
    kind: FeatureKind = WHISPER,
) -> SpeechNet:
    """Train one network, seeded by `config.seed`. progress: gets every step and its loss. kind: of the
    clips' input features.
    """
    torch.manual_seed(config.seed)
    windows = Windows(clips, model, kind, config.mixture, config.seed, synthetic)
    people = len(windows.people)
    net = SpeechNet(
        kind.width, len(clips[0].scale), config.channels, config.dilations, config.dropout, people
    )
    optimiser = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.rate, total_steps=config.steps, pct_start=0.1
    )
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
    """(m, m) the matrix of `stretched` for the clips' motion; regression shrinks what it cannot predict."""
    motion = np.concatenate([c.motion[c.usable] for c in clips])
    opening = np.concatenate([(c.motion @ slopes[c.file])[c.usable] for c in clips])
    slope = np.linalg.lstsq(motion, opening, rcond=None)[0]
    return torch.tensor(stretched(motion, slope, gain), dtype=torch.float32)


def clip_tracker(folder: Path | None) -> Callable[[Path], Track]:
    """A tracker that stores its tracks in `folder`; None: in the common cache."""

    def tracked(path: Path) -> Track:
        if folder is None:
            return cached_track(path)[0]
        stored = folder / f"{path.name}.npz"
        if not stored.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            track_clip(path).save(stored)
        return Track.load(stored)

    return tracked


def run_clip(clip: SpeechClip, model: FaceModel, onnx: Path) -> SpeechFigures:
    """Measures of the exported model on one clip, run as in a dub, with the clip's own statistics."""
    motion = predict_motion(clip.aligned_audio(), clip.rate, len(clip.values), onnx)
    return measure_clip(clip, style_values(clip, motion, model), model)[0]


def train_ensemble(
    clips: list[SpeechClip],
    model: FaceModel,
    config: SpeechConfig,
    synthetic: list[SyntheticExample],
    say: Callable[[str], None],
    kind: FeatureKind = WHISPER,
) -> SpeechEnsemble:
    """The mean of `config.members` networks trained on `clips`, its opening stretched by `config.stretch`.
    Arguments as of `train_member`.
    """
    members = []
    for i in range(config.members):

        def progress(step: int, loss: float, member: int = i) -> None:
            if step % 100 == 0:
                say(
                    f"network {member + 1} of {config.members}, step {step} of {config.steps}, loss"
                    f" {loss:.3f}"
                )

        members.append(
            train_member(clips, model, replace(config, seed=config.seed + i), synthetic, progress, kind)
        )
    slopes = {c.file: lip_jacobian(model, c)[:, -1] for c in clips}
    apart = config.apart_weight * torch.tensor(np.mean(list(slopes.values()), 0), dtype=torch.float32)
    return SpeechEnsemble(members, opening_gain(clips, slopes, config.stretch), apart).eval()


def rounded(values: dict[str, float]) -> dict[str, float]:
    """The values with the four decimals that a record needs."""
    return {k: round(float(v), 4) for k, v in values.items()}


def main(
    clips: Path,
    out: Path | None = None,
    steps: int | None = None,
    seed: int = 0,
    tracks: Path | None = None,
    features: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train on the clips in `clips`/clips.json whose audio is their speaker's; write `out` (.onnx) and its
    record (.json), which is returned.

    out: by default the model inside the package. steps: of each network, by default the configuration's.
    tracks: folder of the clips' tracks, by default the common cache. features: folder in which the input
    features are kept, for the next training. say: gets lines about the progress. Speakers in HELD_OUT and
    VALIDATION are measured, never trained on. Raises `BadInput` where `clips` holds no list of clips.
    """
    config = SpeechConfig(seed=seed)
    config = config if steps is None else replace(config, steps=steps)
    kind = StoredFeatures.of(WHISPER, features) if features else WHISPER
    loaded = load_clips(clips, clip_tracker(tracks), face_model(DEFAULT_FACE_MODEL), kind, say)
    synthetic = synthetic_examples(kind, seed) if config.mixture.synthetic or config.mixture.english else []
    return train_model(loaded, synthetic, config, out or MODEL, say)


def train_model(
    loaded: list[SpeechClip],
    synthetic: list[SyntheticExample],
    config: SpeechConfig,
    out: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train on the clips `loaded`, with the default face model and features; write `out` (.onnx) and its
    record (.json), which is returned. Speakers in HELD_OUT and VALIDATION are measured, never trained on.
    """
    start, model = time.monotonic(), face_model(DEFAULT_FACE_MODEL)
    left_out = (*HELD_OUT, *VALIDATION)
    training, held_out = ([c for c in loaded if (c.speaker in left_out) == side] for side in (False, True))
    ensemble = train_ensemble(training, model, config, synthetic, say)
    export_onnx(ensemble, out, WHISPER, {"face_model": model.name, "n_speech": str(model.n_speech)})
    rows = {c.file: run_clip(c, model, out) for c in held_out}
    record = {
        "format": 2,
        "face_model": model.name,
        "n_speech": model.n_speech,
        "features": WHISPER.name,
        "config": asdict(config),
        "clips": {
            c.file: {"speaker": c.speaker, "offset_ms": round(1000 * c.offset), "listed": c.listed}
            for c in training
        },
        "synthetic_sentences": len(synthetic),
        "held_out_speakers": list(left_out),
        "generic": {
            "scale": column_mean([c.scale for c in training]),
            "offset_from_rest": column_mean([c.offset_from_rest for c in training]),
        },
        "validation": {"clips": len(rows), **mean_figures(list(rows.values()))},
        "validation_clips": {
            c.file: {"offset_ms": round(1000 * c.offset), **rounded(asdict(rows[c.file]))} for c in held_out
        },
        "training_seconds": round(time.monotonic() - start),
        "size_bytes": out.stat().st_size,
    }
    write_record(record, out.with_suffix(".json"))
    say(f"{out}: {record['validation']}")
    return record


def column_mean(rows: list[NDArray[np.float64]]) -> list[float]:
    """Mean over clips of each parameter."""
    return [round(float(x), 5) for x in np.mean(rows, axis=0)]


def write_record(record: dict[str, Any], path: Path) -> None:
    """The record as JSON, whole or not at all."""
    write_text(path, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    import typer

    def command(
        clips: Path,
        out: Path | None = None,
        steps: int | None = None,
        seed: int = 0,
        tracks: Path | None = None,
    ) -> None:
        """Train the speech model on a folder of clips with their list."""
        main(clips, out, steps, seed, tracks)

    typer.run(command)
