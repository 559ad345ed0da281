"""What a viewer sees of a clip stays in the written file, or a note names it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media.conftest import image_of, info_of, noise_frames

from benchmarks.samples import movies
from benchmarks.samples.movies import Sample
from visualdub.errors import BadInput, MediaError
from visualdub.media.carried import CompanionSource
from visualdub.media.clip_facts import display_matrix
from visualdub.media.delivery import choose_codec, viewer_notes
from visualdub.media.frame import ClipInfo, ColourTags, Frame, HdrMetadata, ImageSpec
from visualdub.media.movie_writer import MovieWriter, gray_info
from visualdub.media.pixel_format import as_coded, displayed
from visualdub.media.source import open_source, probe
from visualdub.media.yuv import frame_rgb, planes_to_rgb
from visualdub.timing import FrameRange

PQ = ColourTags(1, 9, 9, 16)
P3 = tuple(
    (Fraction(x, 50000), Fraction(y, 50000))
    for x, y in ((34000, 16000), (13250, 34500), (7500, 3000), (15635, 16450))
)
GRADED = HdrMetadata(P3, (Fraction(5, 1000), Fraction(1000)), 1000, 400)


def write(
    path: Path,
    info: ClipInfo,
    frames: list[Frame],
    codec: str | None = None,
    source: CompanionSource | None = None,
) -> ClipInfo:
    with MovieWriter(path, info, codec, carried=source) as writer:
        for frame in frames:
            writer.write(frame)
    return probe(path)


# ---- light -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "ffv1", "yuv420p10le"),
        ("a.mkv", "hevc", "yuv420p10le"),
        ("a.mov", "prores", "yuv422p10le"),
        ("a.mp4", None, "yuv420p10le"),
        ("a.mp4", "h264", "yuv420p10le"),
    ],
)
def test_an_hdr_clip_stays_one(name: str, codec: str | None, pix_fmt: str, tmp_path: Path) -> None:
    image = image_of("yuv420p10le", colour=PQ, sample_aspect=Fraction(4, 3), width=96, height=64)
    info = info_of(image, hdr=GRADED)
    back = write(tmp_path / name, info, noise_frames(image), codec)
    assert back.hdr == GRADED
    assert (back.image.pix_fmt, back.image.colour, back.image.sample_aspect) == (pix_fmt, PQ, Fraction(4, 3))
    assert gray_info(info).hdr is None


def test_half_of_the_metadata_is_kept_too(tmp_path: Path) -> None:
    image = image_of("yuv420p10le", colour=PQ, width=96, height=64)
    for name in ("a.mkv", "a.mov", "a.mp4"):
        back = write(
            tmp_path / name, info_of(image, hdr=HdrMetadata((), None, 600, 300)), noise_frames(image)
        )
        assert back.hdr == HdrMetadata((), None, 600, 300)


def test_the_default_codec_knows_the_pictures() -> None:
    names = [
        choose_codec(
            Path(f"a{suffix}"),
            image=image_of(pix_fmt, colour=ColourTags(1, 9, 9, transfer), width=width, height=64),
        ).name
        for suffix, pix_fmt, transfer, width in (
            (".mov", "yuva444p10le", 1, 64),
            (".mov", "yuv422p10le", 16, 64),
            (".mp4", "yuv420p10le", 18, 64),
            (".mp4", "yuv420p10le", 18, 62),
            (".mp4", "yuv420p10le", 14, 64),
            (".mkv", "yuva420p", 1, 64),
        )
    ]
    assert names == ["prores4444", "prores", "hevc", "h264", "h264", "ffv1"]


def test_x265_gets_no_picture_that_it_crashes_on(tmp_path: Path) -> None:
    image = image_of("yuv420p")
    with pytest.raises(BadInput, match="hevc is not written in 48 x 32 pixels; expected 64 or more"):
        write(tmp_path / "a.mp4", info_of(image), [], "hevc")


# ---- fields and orientation --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("name", ["a.mkv", "a.mov", "a.mp4", "h264.mov"])
def test_pictures_are_marked_as_the_source_is(name: str, order: int, tmp_path: Path) -> None:
    image = image_of("yuv420p")
    codec = "h264" if name == "h264.mov" else None
    back = write(tmp_path / name, info_of(image, field_order=order), noise_frames(image), codec)
    assert back.field_order == order
    with av.open(str(back.path)) as container:
        assert next(container.decode(video=0)).interlaced_frame


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("name", ["a.mkv", "a.mov", "a.mp4"])
def test_a_mirrored_picture_stays_mirrored(name: str, rotation: int, tmp_path: Path) -> None:
    size = {"width": 32, "height": 48} if rotation in (90, 270) else {}
    image = image_of("yuv420p", rotation=rotation, mirrored=True, **size)
    frames = noise_frames(image)
    back = write(tmp_path / name, info_of(image), frames)
    assert (back.image.rotation, back.image.mirrored) == (rotation, True)
    if name == "a.mkv":
        got = next(open_source(back.path).frames())
        assert all(np.array_equal(a, b) for a, b in zip(frames[0].planes, got.planes, strict=True))


def test_a_mirror_is_read_as_a_viewer_sees_it(tmp_path: Path) -> None:
    plain = Sample("ffv1").write(tmp_path / "plain.mkv")
    flipped = Sample("ffv1", matrix=movies.MIRRORED).write(tmp_path / "flipped.mkv")
    a, b = (next(open_source(p).frames()) for p in (plain, flipped))
    assert all(np.array_equal(x[:, ::-1], y) for x, y in zip(a.planes, b.planes, strict=True))
    assert np.array_equal(frame_rgb(a)[:, ::-1], frame_rgb(b))
    exact = planes_to_rgb(b.planes, b.image)[:, ::-1]
    assert np.abs(planes_to_rgb(a.planes, a.image) - exact).max() < 1e-5


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_coded_and_displayed_are_inverse_and_the_matrix_says_so(rotation: int, mirrored: bool) -> None:
    image = image_of("gray", rotation=rotation, mirrored=mirrored)
    coded = np.arange(6).reshape(2, 3)
    (shown,) = displayed([coded], image)
    assert np.array_equal(as_coded([shown], image)[0], coded)
    a, b, _, c, d = display_matrix(image)[:5]
    places = {(a * x + c * y, b * x + d * y): coded[y, x] for y in range(2) for x in range(3)}
    low = np.array(sorted(places)).min(0)
    for (x, y), value in places.items():
        assert shown[(y - low[1]) >> 16, (x - low[0]) >> 16] == value


def test_a_tilted_picture_is_refused(tmp_path: Path) -> None:
    clip = Sample(matrix=movies.TILTED).write(tmp_path / "tilted.mp4")
    with pytest.raises(MediaError, match="turned by 45 degrees; expected a multiple of 90 degrees"):
        probe(clip)


# ---- streams -----------------------------------------------------------------------------------------------


def test_the_largest_of_several_video_streams(tmp_path: Path) -> None:
    clip = Sample(size=(48, 32), streams=movies.second_video((96, 64))).write(tmp_path / "two.ts")
    info = probe(clip)
    assert (info.image.width, info.image.height) == (96, 64)
    assert info.notes == (
        "two.ts has 2 video streams; stream 1 (96 x 64, the largest) is read and the others are left out",
    )


def test_subtitles_and_chapters_of_a_part(tmp_path: Path) -> None:
    clip = Sample(before=movies.chapters, streams=movies.subtitles(movies.SRT, "srt")).write(
        tmp_path / "in.mkv"
    )
    info = probe(clip)
    assert (info.companions.chapters, info.companions.subtitles) == (2, ("subrip",))
    part, frames = info.part(FrameRange(4, 12)), list(open_source(clip).frames(FrameRange(4, 12)))
    for name, text in (("a.mkv", b"<i>Two</i>"), ("a.mp4", b"\0\x03Two"), ("a.mov", b"\0\x03Two")):
        source = CompanionSource(clip, info.start_of(4))
        out = write(tmp_path / name, part, frames, "h264", source).path
        with av.open(str(out)) as container:
            chapters = [(c["metadata"]["title"], c["start"] * c["time_base"]) for c in container.chapters()]
            stream = container.streams.subtitles[0]
            shown = [
                (p.pts * p.time_base, p.duration * p.time_base, bytes(p))
                for p in container.demux(stream)
                if p.size > 2
            ]
            assert stream.language == ("fra" if name == "a.mov" else "fre")
        assert chapters == [("one", 0), ("two", Fraction(8, 100))]
        assert shown[0][:2] == (0, Fraction(4, 100)) and shown[1] == (Fraction(8, 100), Fraction(2, 10), text)


def test_text_of_mp4_becomes_text_of_matroska(tmp_path: Path) -> None:
    clip = Sample(streams=movies.mov_text).write(tmp_path / "in.mp4")
    out = write(
        tmp_path / "a.mkv", probe(clip), list(open_source(clip).frames()), None, CompanionSource(clip)
    ).path
    with av.open(str(out)) as container:
        stream = container.streams.subtitles[0]
        assert stream.codec_context.name in ("srt", "subrip")
        assert [bytes(p) for p in container.demux(stream) if p.size] == [b"One", b"Two"]


def test_what_is_lost_is_named(tmp_path: Path) -> None:
    clip = Sample(packets=movies.with_captions).write(tmp_path / "608.ts")
    info = probe(clip)
    out = Path("out.mp4")
    assert viewer_notes(info, out, choose_codec(out)) == [
        "out.mp4 has no closed captions: those inside the clip's pictures are left out"
    ]
    deep = replace(info, image=image_of("yuva422p10le"), companions=replace(info.companions, captions=False))
    said = " ".join(viewer_notes(deep, out, choose_codec(out)))
    assert "out.mp4 has no alpha" in said and "out.mp4 is 8 bit 4:2:0, the clip 10 bit 4:2:2" in said


@pytest.mark.parametrize("name", ["a.mp4", "hevc.mp4", "prores.mov", "prores4444.mov"])
@pytest.mark.parametrize("rotation", [0, 90, 180])
def test_odd_sizes_are_padded(name: str, rotation: int, tmp_path: Path) -> None:
    """In coded orientation the last column and row are repeated; chroma stays where it was."""
    image: ImageSpec = image_of("yuv420p", width=95, height=65, rotation=rotation)
    y, x = np.mgrid[:65, :95]
    luma = (16 + 2 * y + x).astype(np.uint8)
    chroma = np.full((33, 48), 128, np.uint8)
    frames = [Frame(i, (luma, chroma, chroma), image) for i in range(3)]
    codec = None if name == "a.mp4" else Path(name).stem
    back = write(tmp_path / name, info_of(image), frames, codec)
    columns, rows = (96, 66) if name.endswith("mp4") else (95, 66) if rotation == 90 else (96, 65)
    assert (back.image.width, back.image.height) == (columns, rows)
    got = np.asarray(next(open_source(back.path).frames()).planes[0], float) / {
        None: 1,
        "prores4444": 16,
    }.get(codec, 4)
    down, right = slice(0, 65), slice(0, 95)
    if rotation in (90, 180):
        right = slice(columns - 95, columns)
    if rotation == 180:
        down = slice(rows - 65, rows)
    assert np.abs(got[down, right] - luma).mean() < 1.5
