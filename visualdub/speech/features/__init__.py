"""Input features of the speech model, 50 a second: log-mel, phone scores, both, or wav2vec2.

A feature does not depend on where a recording is cut into blocks. `feature_kind` returns one kind behind the
interface `FeatureKind`; its name, which includes a version, is stored in every speech model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.speech.features.mel import (
    BANDS,
    CONTEXT,
    HOP,
    RATE,
    FeatureKind,
    Level,
    check_audio,
    feature_count,
    filterbank,
    log_mel,
    recording_level,
    relative_mel,
    scaled_piece,
)
from visualdub.speech.features.mel_filters import mel_of_hertz
from visualdub.speech.features.pocketsphinx import acoustic_model, phone_scores

__all__ = [
    "BANDS",
    "HOP",
    "KINDS",
    "NAMED",
    "RATE",
    "FeatureKind",
    "Level",
    "MelPhone",
    "check_audio",
    "feature_count",
    "feature_kind",
    "filterbank",
    "log_mel",
    "mel_of_hertz",
    "recording_level",
]

PHONES = 42  # of PocketSphinx's acoustic model


@dataclass(frozen=True)
class MelPhone(FeatureKind):
    """Log-mel, or log posteriors of the phones scaled to about -1..1, or both in this order."""

    def features(
        self, audio: NDArray[np.float32], level: Level, first: int, count: int
    ) -> NDArray[np.float32]:
        """As `FeatureKind.features`."""
        parts = [relative_mel(audio, level, first, count)] if self.bands else []
        if self.phones:
            piece = scaled_piece(audio, level.gain, first, count)
            parts.append(phone_scores(piece, CONTEXT * 2, count, level.cepstra, acoustic_model()) / 4.5 + 1)
        return np.asarray(np.concatenate(parts, 1), np.float32)


KINDS = {
    "phone": MelPhone("phone42-2", PHONES, 0, PHONES),
    "mel": MelPhone("mel40-1", BANDS, BANDS, 0),
    "both": MelPhone("mel40+phone42-2", BANDS + PHONES, BANDS, PHONES),
}
NAMED = {k.name: k for k in KINDS.values()}


def feature_kind(name: str, weights: Path | None = None) -> FeatureKind:
    """The kind of features called `name`.

    name: `phone`, `mel`, `both` or `wav2vec2` for the latest version, or the full name from a model. weights:
    the folder of a wav2vec2 network, by default $VISUALDUB_WAV2VEC2. Raises `BadInput` for an unknown name,
    and for wav2vec2 whose weights are missing or are not those that `name` says.
    """
    shipped = KINDS.get(name) or NAMED.get(name)
    if shipped is not None:
        return shipped
    if name.split("-")[0] != "wav2vec2":
        raise BadInput(
            f"unknown speech features {name!r}; expected one of {', '.join([*KINDS, 'wav2vec2', *NAMED])}"
        )
    from visualdub.speech.features.wav2vec2 import open_wav2vec2

    kind = open_wav2vec2(weights)
    if name not in ("wav2vec2", kind.name):
        raise BadInput(f"the model takes {name}; the weights in {kind.folder} make {kind.name}")
    return kind
