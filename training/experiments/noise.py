"""Robustness to noise: the lip opening of noisy dialogue against that of the same words with less noise or
none.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.experiments.languages import generic_style, mouth_opening
from training.experiments.study import run_main
from training.experiments.subjects import append_rows
from training.experiments.tables import markdown, number, write_page
from training.speech.clips import coloured_noise
from visualdub.errors import BadInput
from visualdub.media.audio import read_audio
from visualdub.speech.features import RATE
from visualdub.speech.predict import MODEL, predict_motion

SNRS = (20, 10, 5, 0)  # dB
FRAMES = Fraction(25)


@dataclass(frozen=True)
class NoiseRow:
    """Two recordings of the same words."""

    words: str  # the file
    noise: str
    correlation: float  # of the two lip openings
    deviation_ratio: float  # standard deviation of the opening, noisier recording / the other
    speech_share: float  # number of frames with speech, noisier recording / the other


def opening_of(audio: NDArray[np.float32], model: Path) -> tuple[NDArray[np.float64], float]:
    """(n,) lip opening of the neutral face that speaks a recording, at 25 frames/s, and the share of frames
    with speech.
    """
    motion = predict_motion(audio, FRAMES, int(len(audio) / RATE * FRAMES), model)
    return mouth_opening(motion, generic_style(model)), float((motion.speech_activity == 1).mean())


def compared(
    words: str, noise: str, clean: NDArray[np.float32], noisy: NDArray[np.float32], model: Path
) -> NoiseRow:
    """The row of two recordings of the same words, which are aligned to the sample."""
    (a, spoken_a), (b, spoken_b) = opening_of(clean, model), opening_of(noisy, model)
    return NoiseRow(
        words,
        noise,
        round(float(np.corrcoef(a, b)[0, 1]), 3),
        round(float(b.std() / a.std()), 3),
        round(spoken_b / max(spoken_a, 1e-9), 3),
    )


def mixed(clean: NDArray[np.float32], noise: NDArray[np.float32], snr: float) -> NDArray[np.float32]:
    """`clean` with `noise`, repeated where it is shorter, `snr` dB below it."""
    noise = np.resize(noise, len(clean))
    return np.asarray(clean + noise * (clean.std() / noise.std() * 10 ** (-snr / 20)), np.float32)


def run(folder: Path, model: Path) -> list[NoiseRow]:
    """The rows of the two noisy files against each other, and of every clean file against itself with noise
    and with other people's speech. Raises `BadInput` where there are no clean files.
    """
    audio = {p.stem: read_audio(p, RATE) for p in sorted(folder.glob("*.wav"))}
    noisy, clean = (
        {k: a for k, a in audio.items() if k.startswith("noisy") == side} for side in (True, False)
    )
    if not clean:
        raise BadInput(
            f"{folder} holds no recordings; expected WAV files of dialogue, noisy ones named noisy_*"
        )
    rows = []
    if len(noisy) == 2:
        (first, first_audio), (second, second_audio) = noisy.items()
        rows.append(compared(first, f"{second}, the same words", first_audio, second_audio, model))
    random = np.random.default_rng(0)
    for i, (name, speech) in enumerate(clean.items()):
        others = [a for k, a in clean.items() if k != name]
        talk = np.asarray(sum(np.resize(others[(i + k) % len(others)], len(speech)) for k in range(4)))
        for snr in SNRS:
            noise = coloured_noise(len(speech), random).astype(np.float32)
            rows.append(compared(name, f"noise, {snr} dB", speech, mixed(speech, noise, snr), model))
            label = f"four other voices, {snr} dB"
            rows.append(compared(name, label, speech, mixed(speech, talk, snr), model))
    return rows


def main(given: Sequence[str]) -> None:
    """`python -m training.experiments.noise DIALOGUE -o DIR`: the mouth with noise against the mouth
    without.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("dialogue", type=Path, metavar="DIALOGUE", help="folder of WAV files")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the table, which is replaced",
    )
    parser.add_argument("--model", type=Path, default=MODEL, metavar="FILE", help="default: the built-in one")
    options = parser.parse_args(given)
    options.output.mkdir(parents=True, exist_ok=True)
    table = options.output / "noise.csv"
    table.unlink(missing_ok=True)
    rows = run(options.dialogue, options.model)
    append_rows(table, rows)
    lines = []
    for noise in dict.fromkeys(r.noise for r in rows):
        same = [r for r in rows if r.noise == noise]
        columns = ("correlation", "deviation_ratio", "speech_share")
        means = [float(np.mean([getattr(r, k) for r in same])) for k in columns]
        lines.append([noise, len(same), *map(number, means)])
    page = markdown(["noise", "recordings", "correlation", "deviation ratio", "speech, share"], lines)
    write_page(
        options.output / "noise.md",
        "The mouth in noise",
        ["Lip opening against that of the clean recording.", page],
    )
    print(page)


if __name__ == "__main__":
    run_main(main)
