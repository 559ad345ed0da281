"""Another program, melt, plays a dubbed edit: ours inside the masks, as it plays the original outside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from otio_text import clip, gap, media, stack, timeline, track, transition, warp, write
from scipy.io import wavfile

from visualdub.cli import run

pytest.importorskip("opentimelineio", reason="OpenTimelineIO is not installed (the extra `edits`)")
pytest.importorskip("otio_mlt_adapter", reason="otio-mlt-adapter is not installed (the extra `dev`)")
if shutil.which("melt") is None:
    pytest.skip("melt is not installed (Debian: apt-get install melt)", allow_module_level=True)

from benchmarks.edit_play import Picture, compared, play  # it imports OpenTimelineIO

RATE = 25.0


def shot(name: str, movie: Path, start: float, length: float, **more: Any) -> dict[str, Any]:
    return clip(name, start, length, RATE, reference=media(str(movie), 0, 40, RATE), **more)


def test_melt_shows_our_pixels_inside_the_masks_and_its_own_outside(
    talking: Path, flat_actor: Path, tmp_path: Path
) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 150 * np.arange(48000) / 48000)
    wavfile.write(tmp_path / "new.wav", 48000, (tone * 32767).astype(np.int16))
    dissolve = transition(1, 1, RATE)
    shots = [shot("a", talking, 5, 4), dissolve, shot("b", talking, 20, 4), gap(2, RATE)]
    shots.append(shot("slowed", talking, 8, 5, effects=[warp(0.8)]))
    shots.append(shot("back", talking, 30, 3, effects=[warp(-1)]))
    shots.append(stack(track(shot("inner", talking, 12, 3)), name="compound"))
    words = clip("new", 0, 25, RATE, reference=media(str(tmp_path / "new.wav"), 0, 25, RATE))
    edit = timeline(track(*shots), track(words, kind="Audio", name="new"))
    path, out = write(tmp_path / "cut.otio", edit), tmp_path / "out"
    arguments = ["dub", str(path), "-o", str(out), "--actor", str(flat_actor), "--dialogue-track", "new"]
    assert run([*arguments, "--codec", "ffv1"]) == 0
    picture = Picture.of(talking)
    before = play(path, tmp_path / "before.mkv", picture)
    after = play(out / "cut.otio", tmp_path / "after.mkv", picture)
    report = json.loads((out / "cut.otio.report.json").read_text())
    found = {s.clip: s for s in compared(path, report, before, after, picture)}
    assert {s: (f.frames, f.alone) for s, f in found.items()} == {
        **{"a": (5, 3), "b": (5, 3), "slowed": (5, 5), "back": (3, 3), "inner": (3, 3)}
    }
    for seen in found.values():
        assert seen.alike == seen.frames and seen.apart == 0, seen
        assert seen.ours == seen.alone and 0.01 < seen.changed < 0.3, seen
        # of a slowed clip melt shows the nearest source frame, where editing systems show the one before
        assert seen.exact == (3 if seen.clip == "slowed" else seen.alone), seen
