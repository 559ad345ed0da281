"""Input features out of the encoder of Whisper, run by ONNX Runtime in overlapping windows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

from visualdub.arrays import padded_slice
from visualdub.speech.features.mel import HOP, RATE, FeatureKind, Level, feature_count
from visualdub.speech.features.mel_filters import bin_hertz, slaney_edges, triangles
from visualdub.speech.session import open_network

if TYPE_CHECKING:
    import onnxruntime

Array = NDArray[np.float32]

MEL_HOP, FFT, BANDS = 160, 400, 80  # samples; of Whisper's spectrogram
FRAMES = 1000  # of the spectrogram in a window, 10 s
STEPS = 500  # features of a window
KEPT = 400  # of them, in the middle, that are kept: 8 s
MARGIN = (STEPS - KEPT) // 2
POWER_FLOOR = 1e-10
LOUDEST = 1.0  # log10 of the power of the loudest band of speech that was brought to `mel.LOUDNESS`
RANGE = 8.0  # what is fainter than LOUDEST by more than this is raised to it


@cache
def whisper_filters() -> Array:
    """(FFT / 2 + 1, BANDS) triangular filters, evenly spaced in Slaney's mel, each of unit area in hertz."""
    edges = slaney_edges(0.0, RATE / 2, BANDS)
    area = 2.0 / (edges[2:] - edges[:-2])
    return np.asarray(triangles(bin_hertz(RATE, FFT), edges) * area, np.float32)


def whisper_mel(audio: Array, gain: float, first: int) -> Array:
    """(BANDS, FRAMES) log-mel as Whisper takes it, of the window that begins at feature `first`.

    Frame j is centred on sample first * HOP + j * MEL_HOP. audio: (n,) at RATE, multiplied by `gain`; silence
    outside the recording. Whisper's own limit, 8 below the loudest number of 30 s, is one for all windows.
    """
    piece = padded_slice(audio, first * HOP - FFT // 2, (FRAMES - 1) * MEL_HOP + FFT) * np.float32(gain)
    window = np.hanning(FFT + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(piece, FFT)[::MEL_HOP] * window
    power = np.abs(rfft(frames, axis=1)).astype(np.float32) ** 2 @ whisper_filters()
    logs = np.maximum(np.log10(np.maximum(power, POWER_FLOOR)), LOUDEST - RANGE)
    return np.ascontiguousarray(((logs + 4) / 4).T, np.float32)


@dataclass(frozen=True)
class Whisper(FeatureKind):
    """Principal components of two layers of Whisper's encoder, scaled to about -1..1; zeros outside the
    recording.

    Window w begins MARGIN features before the first that is kept of it, w * KEPT, wherever a recording is
    read from: the encoder sees all of a window, so a feature depends on the window it lies in.
    """

    path: Path

    def features(self, audio: Array, level: Level, first: int, count: int) -> Array:
        """As `FeatureKind.features`."""
        found = np.zeros((count, self.width), np.float32)
        start, end = max(first, 0), min(first + count, feature_count(len(audio)))
        for number in range(start // KEPT, -(-end // KEPT)):
            a, b = max(start, number * KEPT), min(end, (number + 1) * KEPT)
            if a < b:
                kept = self.window(audio, level.gain, number)
                found[a - first : b - first] = kept[a - number * KEPT : b - number * KEPT]
        return found

    def window(self, audio: Array, gain: float, number: int) -> Array:
        """(KEPT, width) the features of window `number` that are kept."""
        mel = whisper_mel(audio, gain, number * KEPT - MARGIN)
        (features,) = encoder_session(self.path).run(["features"], {"mel": mel[None]})
        return np.asarray(features[0, MARGIN : MARGIN + KEPT], np.float32)


WHISPER = Whisper("whisper-base-34-96-1", 96, Path(__file__).parents[1] / "data" / "whisper.onnx")


@cache
def encoder_session(path: Path) -> onnxruntime.InferenceSession:
    """The encoder in a file, on one core."""
    return open_network(path, "an encoder of Whisper")
