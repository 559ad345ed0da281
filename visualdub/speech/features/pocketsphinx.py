"""Phone scores from the acoustic model in PocketSphinx's wheel, evaluated in numpy.

All Gaussians are evaluated and nothing is searched, which is far faster than the recogniser. Cepstra, their
differences and the context-independent states are those behind PocketSphinx's own senone scores (`senlogdir`,
with `compallsen`). Its front end also subtracts a running estimate of the noise, which depends on the whole
recording so far, and so on where a recording is cut; this one does not. With that estimate turned off in
PocketSphinx, the most likely phone is the same in 87 to 92 % of the frames of ten recordings in eight
languages (for three of them in 94 to 96 %, once PocketSphinx also evaluates all Gaussians and not the best
four); with it on, in 71 to 78 % of the three. `tests/speech/test_pocketsphinx.py` makes the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, rfft

from visualdub.arrays import padded_slice
from visualdub.speech.features.mel_filters import bin_hertz, hertz_of_mel, mel_edges, triangles

Array = NDArray[np.float32]

HOP, WINDOW, FFT = 160, 410, 512  # samples at 16 kHz, as the model was trained
FILTERS, CEPSTRA, LIFTER = 25, 13, 22
LOW_HZ, HIGH_HZ = 130.0, 6800.0
PREEMPHASIS = 0.97
STREAMS, STATES = 3, 3  # cepstra, their first and second difference; states of a phone
WEIGHT_STEP = 1024 * np.log(1.0001)  # nepers that one step of a stored mixture weight stands for
SCALE = 0.5  # of the log likelihoods: frames are not independent, and unscaled one phone would take all
PIECE = 48  # frames whose Gaussians are evaluated at once; more do not fit the processor's cache
FLOOR = -9.0  # nepers; a less likely phone counts as this likely


@dataclass(frozen=True)
class AcousticModel:
    """P phones, each with G Gaussians in each of STREAMS streams and a mixture of them for each of STATES."""

    phones: tuple[str, ...]  # P names
    quadratic: tuple[Array, ...]  # per stream (2 * CEPSTRA + 1, P * G): log density = [x², x, 1] @ quadratic
    weights: tuple[Array, ...]  # per stream (P, G, STATES), each column sums to about 1


def _read_gaussians(path: Path) -> NDArray[np.float64]:
    """(P, STREAMS, G, CEPSTRA) out of a `means` or `variances` file."""
    raw = path.read_bytes()
    start = raw.index(b"endhdr\n") + len(b"endhdr\n")
    numbers = np.frombuffer(raw, "<i4", 4 + STREAMS + 1, start)
    phones, streams, gaussians = (int(n) for n in numbers[1:4])
    if streams != STREAMS or set(numbers[4 : 4 + STREAMS]) != {CEPSTRA}:
        widths = numbers[4 : 4 + streams].tolist()
        raise ValueError(f"{path} has {streams} streams of {widths} numbers; expected {STREAMS} of {CEPSTRA}")
    data = np.frombuffer(raw, "<f4", int(numbers[4 + STREAMS]), start + numbers.nbytes)
    return data.reshape(phones, STREAMS, gaussians, CEPSTRA).astype(np.float64)


def _read_weights(path: Path, phones: int, gaussians: int) -> NDArray[np.float64]:
    """(STREAMS, G, P, STATES) mixture weights of the context-independent states out of a `sendump` file."""
    raw, start = path.read_bytes(), 0
    while length := int.from_bytes(raw[start : start + 4], "little"):  # header: texts, each after its length
        start += 4 + length
    start += 4
    rows, states = (int(n) for n in np.frombuffer(raw, "<i4", 2, start))
    start += 8
    if rows != gaussians or len(raw) - start != STREAMS * gaussians * states:
        counts = f"{rows} rows and {len(raw) - start} weights"
        raise ValueError(f"{path} has {counts}; expected {STREAMS} times {gaussians} rows of {states}")
    body = np.frombuffer(raw, np.uint8, offset=start).reshape(STREAMS, gaussians, states)
    weights = np.exp(-WEIGHT_STEP * body[:, :, : phones * STATES].astype(np.float64))
    return np.asarray(weights.reshape(STREAMS, gaussians, phones, STATES))


def _read_phones(path: Path, count: int) -> tuple[str, ...]:
    """The first `count` names in an `mdef` file: the context-independent phones."""
    raw = path.read_bytes()
    start = raw.index(b"END FILE FORMAT DESCRIPTION\n")
    names = raw[raw.index(b"+NSN+", start) :].split(b"\0", count)[:count]
    return tuple(n.decode("ascii").strip("+") for n in names)


@cache
def acoustic_model() -> AcousticModel:
    """The English model of the installed PocketSphinx, read once."""
    import pocketsphinx

    folder = Path(pocketsphinx.get_model_path()) / "en-us" / "en-us"
    means = _read_gaussians(folder / "means")
    variances = np.maximum(_read_gaussians(folder / "variances"), 1e-4)
    phones, _, gaussians, _ = means.shape
    weights = _read_weights(folder / "sendump", phones, gaussians)
    quadratic = []
    for s in range(STREAMS):
        mean, var = means[:, s].reshape(-1, CEPSTRA), variances[:, s].reshape(-1, CEPSTRA)
        constant = -0.5 * (mean**2 / var + np.log(2 * np.pi * var)).sum(1)
        quadratic.append(
            np.concatenate([-0.5 / var, mean / var, constant[:, None]], 1).T.astype(np.float32).copy()
        )
    mixed = tuple(weights[s].transpose(1, 0, 2).astype(np.float32).copy() for s in range(STREAMS))
    return AcousticModel(_read_phones(folder / "mdef", phones), tuple(quadratic), mixed)


@cache
def _filters() -> Array:
    """(FFT / 2 + 1, FILTERS) the recogniser's triangular filters: edges rounded to whole bins, unit area."""
    step = 16000 / FFT
    edges = np.floor(hertz_of_mel(mel_edges(LOW_HZ, HIGH_HZ, FILTERS)) / step + 0.5) * step
    return np.asarray(triangles(bin_hertz(16000, FFT), edges) * 2 / (edges[2:] - edges[:-2]), np.float32)


def cepstra(audio: Array, first: int, count: int) -> Array:
    """(count, CEPSTRA) cepstra for features `first` .. `first + count - 1` of a recording (n,) at 16 kHz.

    Feature k is centred on sample k * HOP. Outside the recording there is silence.
    """
    piece = padded_slice(audio, first * HOP - WINDOW // 2 - 1, (count - 1) * HOP + WINDOW + 1) * 32768
    emphasised = piece[1:] - PREEMPHASIS * piece[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP] * np.hamming(WINDOW).astype(
        np.float32
    )
    power = np.abs(rfft(frames, FFT, axis=1)).astype(np.float32) ** 2
    log = np.log(np.maximum(power @ _filters(), 1e-1))
    lift = 1 + LIFTER / 2 * np.sin(np.arange(CEPSTRA) * np.pi / LIFTER)
    return np.asarray(dct(log, type=2, norm="ortho", axis=1)[:, :CEPSTRA] * lift, np.float32)


def phone_scores(
    audio: Array, first: int, count: int, mean: Array, model: AcousticModel, every: int = 2
) -> Array:
    """(count, P) log posterior of each phone, FLOOR..0, at the features first, first + every, ...

    mean: (CEPSTRA,) mean cepstra of the whole recording. The prior is uniform, the likelihoods are scaled by
    SCALE, and each phone counts by its best state.
    """
    score = phone_likelihoods(audio, first, count, mean, model, every) * SCALE
    score -= score.max(1, keepdims=True)
    return np.asarray(np.maximum(score - np.log(np.exp(score).sum(1, keepdims=True)), FLOOR), np.float32)


def phone_likelihoods(
    audio: Array, first: int, count: int, mean: Array, model: AcousticModel, every: int = 2
) -> Array:
    """(count, P) log likelihood of each phone's best state, at the features of `phone_scores`."""
    base = cepstra(audio, first - 3, (count - 1) * every + 7) - mean
    delta = base[4:] - base[:-4]  # at feature t: c[t + 2] - c[t - 2]
    streams = [x[::every] for x in (base[3:-3], delta[1:-1], delta[2:] - delta[:-2])]
    pieces = [_likelihoods(model, [x[i : i + PIECE] for x in streams]) for i in range(0, count, PIECE)]
    return np.concatenate(pieces)


def _likelihoods(model: AcousticModel, streams: list[Array]) -> Array:
    """(n, P) log likelihood of each phone's best state in n frames, given as STREAMS arrays (n, CEPSTRA)."""
    count = len(streams[0])
    total = np.zeros((count, len(model.phones), STATES), np.float32)
    for x, quadratic, weights in zip(streams, model.quadratic, model.weights, strict=True):
        density = np.concatenate([x * x, x, np.ones((count, 1), np.float32)], 1) @ quadratic
        density = density.reshape(count, *weights.shape[:2])
        top = density.max(2, keepdims=True)
        density -= top
        mixed = np.matmul(np.exp(density, out=density).transpose(1, 0, 2), weights)  # (P, count, STATES)
        total += np.log(np.maximum(mixed.transpose(1, 0, 2), 1e-30)) + top
    return np.asarray(total.max(2), np.float32)
