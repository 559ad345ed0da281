"""Every container and codec that comes in: count, rate and each frame's number, from any start."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media.conftest import make_movie, number_of

from visualdub.media.source import open_source, probe
from visualdub.timing import FrameRange

MATRIX = [  # file, encoder, format, rate, encoder options
    ("h264.mp4", "libx264", "yuv420p", "25", {"bf": "3", "g": "12"}),
    ("h264_ntsc.mkv", "libx264", "yuv420p", "30000/1001", {"bf": "3", "g": "12"}),
    ("open_gop.mov", "libx264", "yuv420p", "24000/1001", {"x264-params": "keyint=12:open-gop=1:bframes=3"}),
    ("odd_rate.mp4", "libx264", "yuv420p", "1350/61", {"bf": "2", "g": "12"}),
    ("hevc10.mp4", "libx265", "yuv420p10le", "50", {"x265-params": "log-level=none:keyint=12:bframes=3"}),
    ("prores.mov", "prores_ks", "yuv422p10le", "24", {"profile": "3"}),
    ("ffv1.mkv", "ffv1", "yuv444p12le", "60000/1001", {"level": "3"}),
    ("jpeg.mov", "mjpeg", "yuvj420p", "25", {}),
    ("rgb.mov", "qtrle", "rgb24", "25", {}),
    ("asp.avi", "mpeg4", "yuv420p", "25", {"bf": "2", "g": "12", "q": "2"}),
    ("h264.avi", "libx264", "yuv420p", "30", {"bf": "2", "g": "12"}),
    ("mpeg1.mpg", "mpeg1video", "yuv420p", "25", {"bf": "2", "g": "12", "b": "4000000"}),
    ("mpeg2.mpg", "mpeg2video", "yuv420p", "30000/1001", {"bf": "2", "g": "12", "b": "4000000"}),
    (
        "vp8.webm",
        "libvpx",
        "yuv420p",
        "25",
        {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "1000000", "deadline": "realtime"},
    ),
    (
        "vp9.webm",
        "libvpx-vp9",
        "yuv420p",
        "30000/1001",
        {"cpu-used": "8", "deadline": "realtime", "b": "1000000"},
    ),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "rate", "options"), MATRIX, ids=[m[0] for m in MATRIX])
def test_every_format_gives_every_frame(
    name: str, codec: str, pix_fmt: str, rate: str, options: dict[str, str], tmp_path: Path
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec} encoder")
    movie = make_movie(tmp_path / name, codec, pix_fmt, rate=Fraction(rate), options=options)
    info = probe(movie)
    assert (info.frame_count, info.rate) == (40, Fraction(rate))
    assert (info.image.width, info.image.height, info.repeated) == (192, 96, ())
    whole = [tuple(p.copy() for p in frame.planes) for frame in open_source(movie).frames()]
    assert [number_of(planes[0]) for planes in whole] == list(range(40))
    for start, end in ((0, 1), (1, 3), (11, 14), (25, 28), (39, 40)):
        part = list(open_source(movie).frames(FrameRange(start, end)))
        assert [f.index for f in part] == list(range(start, end))
        for frame in part:
            assert all(np.array_equal(a, b) for a, b in zip(frame.planes, whole[frame.index], strict=True))


def test_planar_names_hold_packed_and_jpeg_formats(tmp_path: Path) -> None:
    assert probe(make_movie(tmp_path / "a.mov", "qtrle", "rgb24", 2)).image.pix_fmt == "gbrp"
    jpeg = probe(make_movie(tmp_path / "b.mov", "mjpeg", "yuvj420p", 2)).image
    assert (jpeg.pix_fmt, jpeg.colour.range) == ("yuv420p", 2)
