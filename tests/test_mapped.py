"""Large arrays in a file without a name: the same values, and memory that can be given back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest

from visualdub.face import people
from visualdub.face.tracker import track_clip
from visualdub.mapped import LARGE, let_go, spilled, spilled_blocks

MIB = 1 << 20


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def test_a_large_array_keeps_its_values_and_gives_its_memory_back() -> None:
    values = np.arange(64 * MIB // 4, dtype=np.float32).reshape(-1, 4)
    mapped = spilled(values)
    last = mapped[-1].copy()
    assert np.array_equal(mapped, values)
    full = _resident()
    assert let_go(mapped[5:, 1])  # a part of it is enough
    assert full - _resident() > 50 * MIB
    assert np.array_equal(mapped[-1], last)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0] = 1


def test_a_small_array_stays_as_it_is() -> None:
    values = np.zeros(10)
    assert spilled(values) is values
    assert not let_go(values)


def test_where_no_file_can_be_written_the_array_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path / "file"))
    values = np.arange(LARGE, dtype=np.uint8)
    assert np.array_equal(spilled(values), values)


@pytest.mark.parametrize("least", [0, MIB])
def test_blocks_become_one_array(least: int) -> None:
    blocks = [np.full((2, 3), k, np.float32) for k in range(4)]
    joined = spilled_blocks(lambda: blocks, (8, 3), np.dtype(np.float32), least)
    assert np.array_equal(joined, np.concatenate(blocks))
    assert let_go(joined) == (least == 0)


def test_nothing_is_left_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path))
    mapped = spilled(np.arange(10.0), least=0)
    assert mapped[9] == 9.0
    assert list(tmp_path.iterdir()) == []


def test_landmarks_that_leave_memory_are_the_same(talking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_is = track_clip(talking)
    monkeypatch.setattr(people, "STORED_TOGETHER", 7)
    stored = track_clip(talking)
    assert np.array_equal(stored.landmarks, as_it_is.landmarks, equal_nan=True)
    assert np.array_equal(stored.jaw, as_it_is.jaw)
