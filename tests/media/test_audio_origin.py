"""The mouth and the soundtrack hear a dialogue at the same time, to the sample, and a clip's own sound is
heard where its stamps place it: a short form of benchmarks/audio_origin.py.
"""

from __future__ import annotations

import importlib
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE, LATE, PICTURE = Fraction(0), Fraction(1, 2), Fraction(2, 5)


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which is no installed package."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.audio_origin")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "codec", "sound_s", "picture_s", "undeclared"),
    [
        (".wav", "pcm_s16le", AT_ONCE, None, 0),
        (".mp3", "libmp3lame", AT_ONCE, None, 0),
        (".m4a", "aac", AT_ONCE, None, 0),
        (".m4a", "aac", LATE, None, 1024),  # the muxer writes the late start in place of the priming
        (".mka", "libopus", LATE, None, 0),
        (".mka", "flac", LATE, None, 0),
        (".ts", "aac", LATE, None, 1024),  # a transport stream declares no priming
        (".mp4", "aac", LATE, PICTURE, 0),
        (".ts", "aac", AT_ONCE, PICTURE, 0),
    ],
)
def test_mouth_and_soundtrack_have_one_origin(
    suffix: str,
    codec: str,
    sound_s: Fraction,
    picture_s: Fraction | None,
    undeclared: int,
    origin: ModuleType,
    tmp_path: Path,
) -> None:
    """The mouth's sound follows the signal by the priming that the file does not declare, and where it starts
    late by less than the millisecond that containers round it to.
    """
    case = origin.Case(suffix, codec, sound_s, picture_s)
    lags = origin.measure_recording(tmp_path, case, origin.known_signal())
    assert {k: v for k, v in lags.items() if k != "signal"} == {".mkv": 0, ".mov": 0, ".mp4": 0}
    assert lags["signal"] == pytest.approx(undeclared, abs=48 if sound_s else 1)


@pytest.mark.parametrize(
    ("suffix", "codec", "sound_s", "picture_s"),
    [
        (".mp4", "aac", AT_ONCE, PICTURE),
        (".mkv", "aac", PICTURE, AT_ONCE),
        (".ts", "aac", AT_ONCE, AT_ONCE),
        (".mkv", "libopus", AT_ONCE, AT_ONCE),
    ],
)
def test_a_clips_own_sound_is_heard_where_its_stamps_place_it(
    suffix: str, codec: str, sound_s: Fraction, picture_s: Fraction, origin: ModuleType, tmp_path: Path
) -> None:
    case = origin.Case(suffix, codec, sound_s, picture_s)
    lags = origin.measure_clip(tmp_path, case, origin.known_signal())
    assert all(abs(lag) <= 48 for lag in lags.values()), lags
