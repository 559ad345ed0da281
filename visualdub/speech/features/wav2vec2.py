"""Input features from a wav2vec2 network that the user exported to ONNX with `exporters.wav2vec2`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.speech.features.mel import HOP, FeatureKind, Level
from visualdub.storage import name_or_bytes

FOLDER = "VISUALDUB_WAV2VEC2"  # environment variable that names the folder
NETWORK = "wav2vec2.onnx"  # file in the folder
FIELD = 400  # samples that output k of the network depends on, from sample k * HOP on
BLOCK = 300  # features computed at once, 6 s; block b always starts at feature b * BLOCK
CONTEXT = 75  # features of audio on either side of a block
SAMPLES = (BLOCK + 2 * CONTEXT - 1) * HOP + FIELD  # samples that the network takes


@dataclass(frozen=True)
class Wav2Vec2(FeatureKind):
    """One layer of a wav2vec2 network; the numbers of each feature have mean 0 and deviation 1."""

    folder: Path
    session: onnxruntime.InferenceSession
    normalise: bool  # whether the network takes recordings of mean 0 and deviation 1

    def features(
        self, audio: NDArray[np.float32], level: Level, first: int, count: int
    ) -> NDArray[np.float32]:
        """As `FeatureKind.features`. A feature depends on all of its block, so whole blocks are computed."""
        blocks = range(first // BLOCK, (first + count - 1) // BLOCK + 1)
        whole = np.concatenate([self._block(audio, level, b) for b in blocks])
        start = first - blocks[0] * BLOCK
        return whole[start : start + count]

    def _block(self, audio: NDArray[np.float32], level: Level, number: int) -> NDArray[np.float32]:
        """(BLOCK, width) features of block `number`."""
        start = (number * BLOCK - CONTEXT) * HOP - FIELD // 2
        piece = np.zeros(SAMPLES, np.float32)
        a, b = max(start, 0), min(start + SAMPLES, len(audio))
        if b > a:
            samples = audio[a:b]
            piece[a - start : b - start] = (
                (samples - level.mean) / (level.deviation + 1e-7) if self.normalise else samples
            )
        (features,) = self.session.run(["features"], {"sound": piece[None]})
        return np.asarray(features[0, CONTEXT : CONTEXT + BLOCK])


def open_wav2vec2(folder: Path | None = None) -> Wav2Vec2:
    """The network in `folder`, by default the one that $VISUALDUB_WAV2VEC2 names. Nothing is ever downloaded.

    Raises `BadInput` where no folder is named, or where it holds no network or one of another kind.
    """
    chosen = folder or (Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None)
    if chosen is None:
        raise BadInput(
            f"wav2vec2 features need weights; set {FOLDER} to a folder that exporters.wav2vec2 has prepared"
        )
    path = chosen / NETWORK
    try:
        state = path.stat()
    except OSError as e:
        raise BadInput(
            f"{path} cannot be read ({e.strerror}); python -m exporters.wav2vec2 FOLDER makes it of weights"
        ) from e
    return _opened(path, state.st_mtime_ns)


@lru_cache(maxsize=1)
def _opened(path: Path, _changed: int) -> Wav2Vec2:
    """The network in a file, which is read again only after it was written. Raises `BadInput`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            name_or_bytes(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as e:  # ONNX Runtime has no common base for its errors
        raise BadInput(f"{path} is not a wav2vec2 network: {str(e).splitlines()[0]}") from e
    facts = session.get_modelmeta().custom_metadata_map
    shapes = [x.shape for x in (*session.get_inputs(), *session.get_outputs())]
    if (
        "name" not in facts
        or len(shapes) != 2
        or shapes[0] != [1, SAMPLES]
        or shapes[1][:2] != [1, BLOCK + 2 * CONTEXT]
    ):
        raise BadInput(
            f"{path} takes and gives {shapes}; expected a network that this version's exporters.wav2vec2"
            " wrote"
        )
    return Wav2Vec2(
        facts["name"], int(shapes[1][2]), 0, 0, path.parent, session, facts.get("normalise") == "1"
    )
