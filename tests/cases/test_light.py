"""The mouth is as dark and as tinted as the face around it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import rgb_of, write_movie
from numpy.typing import NDArray

from visualdub.cli import run
from visualdub.media.transfer import transfer_function

CURVE = transfer_function(1)
SHARE, CODES = 0.3, 3.0  # how far the mouth's mean code may be from the face's
AROUND = 25  # pixels around the mouth that count as face


def dub(clip: Path, dialogue: Path, actor: Path, out: Path) -> list[str]:
    """Dub by the command line, with a matte; the notes of the report."""
    options = ["--dialogue", str(dialogue), "--actor", str(actor), "-o", str(out)]
    assert run(["dub", str(clip), *options, "--matte", str(out.with_suffix(".matte.mkv"))]) == 0
    notes: list[str] = json.loads(out.with_name(out.name + ".report.json").read_text())["notes"]
    return notes


def mouth_and_face(clip: Path, out: Path) -> NDArray[np.float64]:
    """(n, 2, 3) mean codes of mouth and face in each drawn frame: what is drawn, and the plate just outside,
    beside and above it.
    """
    rows = []
    for plate, done, matte in zip(
        rgb_of(clip), rgb_of(out), rgb_of(out.with_suffix(".matte.mkv")), strict=True
    ):
        drawn = matte[..., 0] == 255
        if not drawn.any():
            continue
        grown = cv2.dilate((matte[..., 0] > 0).astype(np.uint8), np.ones((AROUND, AROUND), np.uint8))
        face = (grown > 0) & (matte[..., 0] == 0)
        face[int(np.argwhere(drawn).mean(0)[0]) :] = False
        rows.append([done[drawn].mean(0), plate[face].mean(0)])
    return np.array(rows)


def close(colours: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) whether the mouth is as bright as the face in every channel."""
    mouth, face = colours[:, 0], colours[:, 1]
    return np.asarray((np.abs(mouth - face) <= SHARE * face + CODES).all(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["p_fade", "p_dark2"])
def test_a_fading_and_a_dark_face(name: str, case: Callable[[str], Path], demo_actor: Path) -> None:
    folder = case("fade_dark_gel")
    clip, out = folder / f"{name}.mp4", folder / "out.mkv"
    notes = dub(clip, folder / "fr2.wav", demo_actor, out)
    colours = mouth_and_face(clip, out)
    assert len(colours) >= 20
    assert close(colours).all(), colours[~close(colours)]
    assert not [n for n in notes if "light" in n]  # this package holds no colours to tell the light by


@pytest.mark.slow
@pytest.mark.parametrize("gel", [(1.0, 0.1, 0.05), (0.05, 0.15, 1.0)])
def test_a_face_under_a_gel(
    gel: tuple[float, float, float],
    demo_clip: Path,
    demo_actor: Path,
    case: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    gain = np.array(gel, np.float32)
    lit = [
        np.rint(255 * CURVE.from_linear(CURVE.to_linear(p.astype(np.float32) / 255) * gain)).astype(np.uint8)
        for p in rgb_of(demo_clip)[60:80]
    ]
    clip, out = write_movie(tmp_path / "gel.mkv", lit), tmp_path / "out.mkv"
    dub(clip, case("fade_dark_gel") / "fr2.wav", demo_actor, out)
    colours = mouth_and_face(clip, out)
    assert len(colours) == 20
    assert close(colours).all(), colours[~close(colours)]
