"""Trains the phone head, which tells the phones of any language from the speech model's input features, and
writes it as ONNX with its record.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from training.speech.phone_data import (
    TEST_FLITE,
    TEST_VARIANTS,
    UNKNOWN,
    UNSEEN_LANGUAGES,
    PhoneExample,
    test_set,
    training_set,
)
from visualdub.speech.features import WHISPER
from visualdub.speech.ipa import CLASSES
from visualdub.speech.phones import HEAD
from visualdub.storage import atomic_path, write_text

OPSET = 17


@dataclass(frozen=True)
class HeadConfig:
    """The configuration of a training."""

    channels: int = 128
    kernels: tuple[int, ...] = (5, 5)  # steps of 20 ms
    dropout: float = 0.2
    steps: int = 1200
    batch: int = 12  # windows
    length: int = 128  # steps of a window
    rate: float = 3e-3  # learning rate of AdamW, one cycle
    decay: float = 0.05  # weight decay
    smoothing: float = 0.05  # of the labels, whose borders are not exact
    jitter: float = 0.05  # deviation of the noise that is added to the features
    seed: int = 0


class PhoneHead(nn.Module):
    """Convolutions over time, from features (N, T, width) to log probabilities (N, T, classes)."""

    def __init__(self, config: HeadConfig) -> None:
        """The layers of `config`; the last one sees one step."""
        super().__init__()
        layers: list[nn.Module] = []
        width = WHISPER.width
        for kernel in config.kernels:
            layers += [
                nn.Conv1d(width, config.channels, kernel, padding=kernel // 2),
                nn.ReLU(),
                nn.Dropout(config.dropout),
            ]
            width = config.channels
        layers.append(nn.Conv1d(width, len(CLASSES), 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, width) -> (N, T, classes)."""
        return torch.log_softmax(self.layers(features.transpose(1, 2)).transpose(1, 2), -1)


# ---- training ----------------------------------------------------------------------------------------------


def window_of(
    example: PhoneExample, length: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A random window of an example: (length, width) features and (length,) classes; after the example's end
    zeros and UNKNOWN.
    """
    inputs = np.zeros((length, WHISPER.width), np.float32)
    classes = np.full(length, UNKNOWN, np.int64)
    first = int(random.integers(max(1, len(example.classes) - length + 1)))
    rows = example.features[first : first + length]
    inputs[: len(rows)], classes[: len(rows)] = rows, example.classes[first : first + length]
    return inputs, classes


def train_head(
    examples: Sequence[PhoneExample], config: HeadConfig, say: Callable[[str], None] = print
) -> PhoneHead:
    """The head trained on `examples`; every language is drawn equally often."""
    torch.manual_seed(config.seed)
    random = np.random.default_rng(config.seed)
    head = PhoneHead(config).train()
    by_language: dict[str, list[PhoneExample]] = {}
    for e in examples:
        by_language.setdefault(e.language, []).append(e)
    languages = list(by_language)
    optimizer = torch.optim.AdamW(head.parameters(), config.rate, weight_decay=config.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=config.steps)
    for step in range(config.steps):
        drawn = (by_language[languages[int(i)]] for i in random.integers(len(languages), size=config.batch))
        windows = [window_of(s[int(random.integers(len(s)))], config.length, random) for s in drawn]
        inputs, classes = (torch.from_numpy(np.stack(x)) for x in zip(*windows, strict=True))
        scores = head(inputs + config.jitter * torch.randn_like(inputs))
        loss = cross_entropy(
            scores.flatten(0, 1),
            classes.flatten(),
            ignore_index=UNKNOWN,
            label_smoothing=config.smoothing,
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            say(f"step {step} of {config.steps}, loss {float(loss.detach()):.3f}")
    return head.eval()


def export_head(head: PhoneHead, path: Path) -> None:
    """Write the head as ONNX: `features` (1, T, width) to `scores` (1, T, classes), T dynamic; the classes
    and the kind of features stand in its metadata.
    """
    import onnx

    with atomic_path(path) as temporary:
        torch.onnx.export(
            head.eval(),
            (torch.zeros(1, 200, WHISPER.width),),
            str(temporary),
            input_names=["features"],
            output_names=["scores"],
            dynamic_axes={"features": {1: "T"}, "scores": {1: "T"}},
            opset_version=OPSET,
            dynamo=False,
        )
        proto = onnx.load(str(temporary))
        for key, value in (("features", WHISPER.name), ("classes", " ".join(CLASSES))):
            entry = proto.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.save(proto, str(temporary))


# ---- measuring ---------------------------------------------------------------------------------------------


def frame_accuracy(head: PhoneHead, examples: Sequence[tuple[str, PhoneExample]]) -> dict[str, float]:
    """The share of the steps in phones (not in pauses) whose most likely class is the right one, by the name
    of what is tested.
    """
    counts: dict[str, list[int]] = {}
    for name, example in examples:
        with torch.no_grad():
            best = head(torch.from_numpy(example.features.astype(np.float32))[None])[0].argmax(-1).numpy()
        phones = example.classes > 0
        count = counts.setdefault(name, [0, 0])
        count[0] += int((best == example.classes)[phones].sum())
        count[1] += int(phones.sum())
    return {name: round(right / total, 4) for name, (right, total) in counts.items()}


def main(
    out: Path | None = None, steps: int | None = None, seed: int = 0, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Make the sentences, train the head and write `out` (.onnx, by default the one inside the package) and
    its record (.json), which is returned. Raises `BadInput` where espeak-ng or flite is not installed.
    """
    config = HeadConfig(seed=seed) if steps is None else HeadConfig(seed=seed, steps=steps)
    start = time.monotonic()
    examples = training_set(seed)
    say(f"{len(examples)} sentences, {sum(len(e.classes) for e in examples) / 50:.0f} s")
    return train_on(examples, test_set(), config, out or HEAD, say, start)


def train_on(
    examples: Sequence[PhoneExample],
    tested: Sequence[tuple[str, PhoneExample]],
    config: HeadConfig,
    out: Path,
    say: Callable[[str], None] = print,
    start: float | None = None,
) -> dict[str, Any]:
    """Train on `examples`, measure on `tested`, write `out` and its record, which is returned. start: the
    monotonic time from which the seconds of the record count.
    """
    start = time.monotonic() if start is None else start
    head = train_head(examples, config, say)
    export_head(head, out)
    record = {
        "format": 1,
        "features": WHISPER.name,
        "classes": list(CLASSES),
        "config": asdict(config),
        "sentences": len(examples),
        "seconds_of_speech": round(sum(len(e.classes) for e in examples) / 50),
        "languages": list(dict.fromkeys(e.language for e in examples)),
        "held_out_voices": [*TEST_VARIANTS, TEST_FLITE],
        "held_out_languages": list(UNSEEN_LANGUAGES),
        "frame_accuracy": frame_accuracy(head, tested),
        "training_seconds": round(time.monotonic() - start),
        "size_bytes": out.stat().st_size,
    }
    write_text(out.with_suffix(".json"), json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    say(f"{out}: {record['frame_accuracy']}")
    return record
