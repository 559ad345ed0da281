"""Clips whose pixels are not square, through `vdub dub`."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from visualdub.cli import run
from visualdub.media.source import open_source


@pytest.mark.slow
def test_a_face_in_tall_pixels_is_known_and_drawn(case: Callable[[str], Path], demo_actor: Path) -> None:
    folder = case("odd_size_to_mp4")
    out = folder / "out.mp4"
    args = ["dub", folder / "v_odd.webm", "--dialogue", folder / "fr2.wav", "--actor", demo_actor, "-o", out]
    assert run([*map(str, args)]) == 0
    report = json.loads(out.with_name("out.mp4.report.json").read_text())
    assert (report["drawn"], report["passed"]) == (25, [])
    with open_source(out) as source:
        assert source.info.image.sample_aspect == Fraction(410, 853)
