"""Train the audio-to-expression model on clips with their own sound, and ship it as ONNX with its record."""

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
from training.speech.clips import SpeechClip, SyntheticSound, load_clips, synthetic_sounds
from training.speech.measure import SpeechFigures, mean_figures, measure_clip, style_values
from training.speech.network import SpeechNet, Spoken, export_onnx
from training.speech.windows import Mixture, Windows, lip_jacobian
from visualdub.errors import BadInput
from visualdub.face.models import DEFAULT_FACE_MODEL, FaceModel, face_model
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track, track_clip
from visualdub.speech.features import feature_kind
from visualdub.speech.predict import MODEL, predict_motion

HELD_OUT = ("hill", "studio_b", "roskam", "radio22", "webcam", "stage")


@dataclass(frozen=True)
class SpeechConfig:
    """How the model is trained."""

    features: str = "both"  # phone, mel, both or wav2vec2
    channels: int = 64
    dilations: tuple[int, ...] = (1, 2, 4)  # in steps of 20 ms
    dropout: float = 0.3
    steps: int = 300
    mixture: Mixture = field(default_factory=lambda: Mixture(16, 6, 6, 128, 0.06, 0.3, 0.15, 0.1))
    rate: float = 2e-3  # AdamW, one cycle
    decay: float = 0.05
    members: int = 2  # networks whose mean is shipped
    lip_weight: float = 1.0  # lip vertices
    velocity_weight: float = 0.1  # their change from step to step; 2.0 cost 0.08 of the held-out correlation
    opening_weight: float = 1.0
    parameter_weight: float = 0.2  # every parameter in units of the actor
    voice_weight: float = 0.3
    synthetic_weight: float = 0.3  # opening by the phones of synthetic sentences
    contact_weight: float = 0.5  # touching lips, in the same
    apart_weight: float = 1.0  # what a deviation of opening takes off the logit of touching lips
    stretch: float = (
        1.3  # of the opening, which regression shrinks: a mouth that does less than the real one mumbles
    )
    unstyled: float = (
        0.5  # share of the clips' windows heard without their speaker's style code, as strangers are
    )
    seed: int = 0


def loss_of(net: SpeechNet, batch: dict[str, Tensor], config: SpeechConfig) -> Tensor:
    """The sum of all terms; those of clips are about 1 for a still mouth."""
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
    total = total + config.contact_weight * _touch_loss(contact[:count], batch["touch"], batch["heard"])
    if "spoken" in batch:
        total = total + _synthetic_loss(motion[count:], contact[count:], batch, config)
    return torch.as_tensor(total)


def _synthetic_loss(
    motion: Tensor, contact: Tensor, batch: dict[str, Tensor], config: SpeechConfig
) -> Tensor:
    """Opening and touching lips against what the phones ask for."""
    spoken = batch["spoken"]
    opening = (
        (motion @ batch["generic_slope"] - batch["opening"]).square() * batch["taught"]
    ).sum() / spoken.sum()
    return config.synthetic_weight * opening + config.contact_weight * _touch_loss(
        contact, batch["contact"], spoken
    )


def _touch_loss(contact: Tensor, touching: Tensor, known: Tensor) -> Tensor:
    """Logits of touching lips (n, T) against whether they touch, where that is known. A closed mouth that is
    a little open is the error people see: a step in which they touch counts twice.
    """
    total = binary_cross_entropy_with_logits(contact, touching, known * (1 + touching), reduction="sum")
    return total / known.sum().clamp(min=1.0)


def train_member(
    clips: list[SpeechClip],
    model: FaceModel,
    config: SpeechConfig,
    synthetic: list[SyntheticSound],
    progress: Callable[[int, float], None] | None = None,
) -> SpeechNet:
    """One network, from `config.seed`."""
    torch.manual_seed(config.seed)
    kind = feature_kind(config.features)
    windows = Windows(clips, model, kind, config.mixture, config.seed, synthetic)
    people = len(windows.people)
    net = SpeechNet(kind.width, len(clips[0].gain), config.channels, config.dilations, config.dropout, people)
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
    """(m, m) `stretched` of the clips' own motion: regression shrinks what it cannot know."""
    motion = np.concatenate([c.motion[c.usable] for c in clips])
    opening = np.concatenate([(c.motion @ slopes[c.file])[c.usable] for c in clips])
    slope = np.linalg.lstsq(motion, opening, rcond=None)[0]
    return torch.tensor(stretched(motion, slope, gain), dtype=torch.float32)


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


def run_clip(clip: SpeechClip, model: FaceModel, onnx: Path) -> SpeechFigures:
    """Figures of the exported model on one clip, run as a dub runs it, with the clip's own statistics."""
    motion = predict_motion(clip.aligned_audio(), clip.rate, len(clip.values), onnx)
    return measure_clip(clip, style_values(clip, motion, model), model)[0]


def train_spoken(
    clips: list[SpeechClip],
    model: FaceModel,
    config: SpeechConfig,
    synthetic: list[SyntheticSound],
    say: Callable[[str], None],
) -> Spoken:
    """The mean of `config.members` networks trained on `clips`, its opening stretched by `config.stretch`."""
    members = []
    for i in range(config.members):

        def progress(step: int, loss: float, member: int = i) -> None:
            if step % 100 == 0:
                say(
                    f"network {member + 1} of {config.members}, step {step} of {config.steps}, loss"
                    f" {loss:.3f}"
                )

        members.append(train_member(clips, model, replace(config, seed=config.seed + i), synthetic, progress))
    slopes = {c.file: lip_jacobian(model, c)[:, -1] for c in clips}
    apart = config.apart_weight * torch.tensor(np.mean(list(slopes.values()), 0), dtype=torch.float32)
    return Spoken(members, opening_gain(clips, slopes, config.stretch), apart).eval()


def rounded(values: dict[str, float]) -> dict[str, float]:
    """Four decimals are enough for a record."""
    return {k: round(float(v), 4) for k, v in values.items()}


def main(
    clips: Path,
    out: Path | None = None,
    steps: int | None = None,
    seed: int = 0,
    tracks: Path | None = None,
    say: Callable[[str], None] = print,
    listen: str = "both",
) -> dict[str, Any]:
    """Train on the clips listed in `clips`/clips.json whose sound is their own; write `out` (.onnx) and its
    record (.json).

    out: by default the model inside the package. steps: of each network, by default the configuration's.
    tracks: folder that keeps the tracks of the clips, by default the common cache. listen: the features, as
    `feature_kind` names them. Speakers in HELD_OUT are measured, never trained on. Returns the record. Raises
    `BadInput` where `clips` holds no list of clips.
    """
    start = time.monotonic()
    config = SpeechConfig(features=listen, seed=seed)
    config, kind = config if steps is None else replace(config, steps=steps), feature_kind(listen)
    model, out = face_model(DEFAULT_FACE_MODEL), out or MODEL
    if not (clips / "clips.json").is_file():
        raise BadInput(f"{clips} holds no clips.json; expected a folder of clips with their list")
    loaded = load_clips(clips, clip_tracker(tracks), model, kind, say)
    training, held = ([c for c in loaded if (c.speaker in HELD_OUT) == side] for side in (False, True))
    synthetic = synthetic_sounds(kind, seed) if config.mixture.synthetic or config.mixture.english else []
    spoken = train_spoken(training, model, config, synthetic, say)
    export_onnx(spoken, out, kind, {"face_model": model.name, "n_speech": str(model.n_speech)})
    rows = {c.file: run_clip(c, model, out) for c in held}
    record = {
        "format": 2,
        "face_model": model.name,
        "n_speech": model.n_speech,
        "features": kind.name,
        "config": asdict(config),
        "clips": {
            c.file: {"speaker": c.speaker, "offset_ms": round(1000 * c.offset), "listed": c.listed}
            for c in training
        },
        "synthetic_sentences": len(synthetic),
        "held_out_speakers": list(HELD_OUT),
        "generic": {
            "scale": column_mean([c.gain for c in training]),
            "offset_from_rest": column_mean([c.lift for c in training]),
        },
        "validation": {"clips": len(rows), **mean_figures(list(rows.values()))},
        "validation_clips": {
            c.file: {"offset_ms": round(1000 * c.offset), **rounded(asdict(rows[c.file]))} for c in held
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
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    partial.replace(path)


if __name__ == "__main__":
    import typer

    def command(
        clips: Path,
        out: Path | None = None,
        steps: int | None = None,
        seed: int = 0,
        tracks: Path | None = None,
        features: str = "both",
    ) -> None:
        """Train the speech model on a folder of clips with their list."""
        main(clips, out, steps, seed, tracks, listen=features)

    typer.run(command)
