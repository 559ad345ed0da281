"""Input features of the speech model, 50 a second, out of Whisper's encoder; and the log-mel behind a
recording's level.

`feature_kind` returns them behind the interface `FeatureKind`; the name, which includes a version, is stored
in every speech model.
"""

from __future__ import annotations

from visualdub.errors import BadInput
from visualdub.speech.features.mel import (
    BANDS,
    HOP,
    RATE,
    FeatureKind,
    Level,
    check_audio,
    feature_count,
    filterbank,
    log_mel,
    recording_level,
)
from visualdub.speech.features.mel_filters import mel_of_hertz
from visualdub.speech.features.whisper import WHISPER

__all__ = [
    "BANDS",
    "HOP",
    "RATE",
    "WHISPER",
    "FeatureKind",
    "Level",
    "check_audio",
    "feature_count",
    "feature_kind",
    "filterbank",
    "log_mel",
    "mel_of_hertz",
    "recording_level",
]


def feature_kind(name: str) -> FeatureKind:
    """The kind of features called `name`, as a speech model names it.

    Raises `BadInput` for features of another version, and for unknown ones.
    """
    if name != WHISPER.name:
        raise BadInput(
            f"it takes the input features {name!r}; expected {WHISPER.name}, those of this version: train it"
            " again with `vdub train speech`"
        )
    return WHISPER
