"""Clips whose pixels are not square: faces are tracked, cut out and drawn in the shape that people see."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import (
    Pictures,
    portrait_pictures,
    squeezed,
    write_flat_actor,
    write_movie,
    write_squeezed,
    write_wav,
)
from numpy.typing import NDArray
from PIL import Image

from visualdub.cli import run
from visualdub.face import tracker
from visualdub.face.crop import Crop, crop_of, warp_crop
from visualdub.face.landmarks import face_width
from visualdub.face.sheet import people_of, people_sheet
from visualdub.face.track import Track
from visualdub.face.tracker import cached_track, track_clip
from visualdub.measure.evaluate import OutputFaces
from visualdub.media.frame import ColourTags, Frame, ImageSpec
from visualdub.media.source import open_source
from visualdub.media.square import square_scale
from visualdub.media.yuv import frame_rgb
from visualdub.timing import FrameRange

COUNT = 12
ASPECTS = [Fraction(4, 3), Fraction(2), Fraction(1, 2), Fraction(12, 25)]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """The speaking portrait, large enough to lose half of its columns."""
    return portrait_pictures(COUNT, height=564)


@pytest.fixture(scope="module")
def clip(pictures: Pictures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait with square pixels."""
    return write_movie(tmp_path_factory.mktemp("square") / "square.mkv", pictures)


@pytest.fixture(scope="module")
def track(clip: Path) -> Track:
    return track_clip(clip)


# ---- tracks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_squeezed_face_is_tracked_as_it_is(
    aspect: Fraction, pictures: Pictures, track: Track, tmp_path: Path
) -> None:
    """Landmarks in square pixels are those of the clip that has them, less what squeezing blurs."""
    whole = track.span(FrameRange(0, 8))
    narrow = track_clip(write_squeezed(tmp_path / "narrow.mkv", pictures[:8], aspect))
    height, width = squeezed(pictures[:1], aspect)[0].shape[:2]
    assert narrow.size == (width, height) and abs(float(narrow.pixel_aspect / aspect) - 1) < 0.01
    assert narrow.usable.all()
    apart = np.linalg.norm((narrow.landmarks - whole.landmarks)[..., :2], axis=-1).mean(1)
    assert (apart / face_width(whole.landmarks)).max() < 0.02
    assert narrow.scale == pytest.approx(whole.scale, rel=0.02)
    assert np.abs(narrow.jaw - whole.jaw).max() < 0.02


def test_a_track_keeps_the_aspect(track: Track, tmp_path: Path) -> None:
    wide = replace(track, pixel_aspect=Fraction(410, 853))
    wide.save(tmp_path / "wide.npz")
    assert Track.load(tmp_path / "wide.npz").pixel_aspect == Fraction(410, 853)
    assert wide.span(FrameRange(2, 5)).pixel_aspect == Fraction(410, 853)


def test_cached_tracks_of_square_clips_stay_and_those_of_others_are_made_again(
    clip: Path, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Format 3 took every pixel for square: the track that it would have made of a squeezed clip."""
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path / "cache"))
    assert tracker.track_key(None, None, "face468-1", Fraction(1)).endswith(".3")
    wide = write_squeezed(tmp_path / "wide.mkv", pictures[:3], Fraction(2))
    made = []

    def note(path: Path, *args: object, **kwargs: object) -> Track:
        made.append(path)
        return track_clip(path)

    def before(*args: object, **kwargs: object) -> Track:
        return replace(track_clip(clip, FrameRange(0, 3)), source_hash=str(kwargs["source_hash"]))

    key = tracker.track_key
    monkeypatch.setattr(tracker, "track_key", lambda frames, face, model, aspect: key(frames, face, model))
    monkeypatch.setattr(tracker, "track_clip", before)
    assert cached_track(wide)[0].pixel_aspect == 1  # as format 3 kept it
    monkeypatch.setattr(tracker, "track_key", key)
    monkeypatch.setattr(tracker, "track_clip", note)
    assert abs(float(cached_track(wide)[0].pixel_aspect) - 2) < 0.01 and made == [wide]
    assert cached_track(wide)[1] and made == [wide]


# ---- crops -------------------------------------------------------------------------------------------------


def affine_of(scale: float, x: float, y: float) -> NDArray[np.float64]:
    return np.array([[scale, 0, x], [0, scale, y]])


@pytest.mark.parametrize("aspect", [*ASPECTS, Fraction(1)])
def test_a_stored_pixel_falls_where_its_square_one_does(aspect: Fraction) -> None:
    crop = Crop(np.stack([affine_of(0.7, -30.0, 12.0), affine_of(0.5, 4.0, -9.0)]), pixel_aspect=aspect)
    stored = np.array([100.5, 60.5])
    square = stored * square_scale(aspect)
    for m, n in zip(crop.stored_affine, crop.affine, strict=True):
        assert m[:, :2] @ stored + m[:, 2] == pytest.approx(n[:, :2] @ square + n[:, 2])
    assert aspect != 1 or crop.stored_affine is crop.affine


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("scale", [0.35, 0.62, 1.3])
def test_the_crop_of_a_squeezed_picture_is_that_of_the_square_one(
    aspect: Fraction, scale: float, pictures: Pictures
) -> None:
    """Half of a clip's columns cannot be had back, so both are compared as far as the squeezed one goes."""
    h, w = pictures[0].shape[:2]
    affine = affine_of(scale, 128 - scale * w / 2, 128 - scale * h / 2)
    (narrow,) = squeezed(pictures[:1], aspect)
    exact = Fraction(w * narrow.shape[0], h * narrow.shape[1])
    crop = Crop(affine[None], pixel_aspect=exact)
    made = warp_crop(narrow, crop.stored_affine[0]).astype(np.float32)
    wanted = warp_crop(pictures[0], affine).astype(np.float32)
    soft = max(0.6, 0.6 * scale * max(square_scale(exact)))
    apart = np.abs(cv2.GaussianBlur(made, (0, 0), soft) - cv2.GaussianBlur(wanted, (0, 0), soft))
    assert apart.mean() < 1.0 and np.quantile(apart, 0.99) < 8


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(12, 25)])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_squeezed_picture_is_low_passed_along_each_axis_by_itself(aspect: Fraction, axis: int) -> None:
    """Stripes of three pixels: too fine for half the size, where they must go; not for the other axis, which
    was stored at about half the size.
    """
    scales = np.array(square_scale(aspect)) * 0.5
    wave = 128 + 100 * np.sin(2 * np.pi * np.arange(640) / 3)
    stripes = np.repeat(np.broadcast_to(wave[:, None] if axis else wave, (640, 640))[..., None], 3, -1)
    made = warp_crop(np.rint(stripes).astype(np.uint8), np.array([[scales[0], 0, 0], [0, scales[1], 0]]))
    amplitude = float(made[32:-32, 32:-32].std()) * np.sqrt(2) / 100
    assert amplitude > 0.75 if scales[axis] > 0.9 else amplitude < 0.4


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "gray"])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(12, 25)])
@pytest.mark.parametrize("affine", [(0.9, -120.3, -40.6), (0.4, -20.0, 10.0), (2.3, -900.1, -410.7)])
def test_the_part_of_a_frame_that_is_converted_holds_the_crop(
    aspect: Fraction, affine: tuple[float, float, float], pix_fmt: str
) -> None:
    rng, (w, h) = np.random.default_rng(3), (644, 362)
    image = ImageSpec(w, h, pix_fmt, ColourTags(1, 1, 1, 1), sample_aspect=aspect)
    shapes = [(h, w)] + ([(h // 2, w // 2)] * 2 if pix_fmt == "yuv420p" else [])
    frame = Frame(0, tuple(rng.integers(0, 256, s).astype(np.uint8) for s in shapes), image)
    m = Crop(affine_of(*affine)[None], pixel_aspect=aspect).stored_affine[0]
    np.testing.assert_array_equal(crop_of(frame, m), warp_crop(frame_rgb(frame), m))


# ---- what people see ---------------------------------------------------------------------------------------


def test_a_sheet_shows_a_face_in_its_true_shape(
    clip: Path, pictures: Pictures, track: Track, tmp_path: Path
) -> None:
    part = track.span(FrameRange(0, 8))
    best = people_of(part)[0].best.best
    narrow = write_squeezed(tmp_path / "narrow.mkv", pictures[: best + 1], Fraction(1, 2))
    with open_source(narrow) as source:
        aspect = source.info.image.pixel_aspect
    shown = people_sheet(clip, people_of(part)).astype(int)
    assert np.abs(people_sheet(narrow, people_of(part), aspect) - shown).mean() < 3
    assert np.abs(people_sheet(narrow, people_of(part)) - shown).mean() > 15


@pytest.mark.slow
def test_track_writes_an_overlay_with_square_pixels(pictures: Pictures, tmp_path: Path) -> None:
    narrow = write_squeezed(tmp_path / "narrow.mkv", pictures[:12], Fraction(1, 2))
    overlay, sheet = tmp_path / "overlay.mkv", tmp_path / "people.png"
    args = ["track", narrow, "-o", tmp_path / "t.npz", "--overlay", overlay, "--people-sheet", sheet]
    assert run([*map(str, args)]) == 0
    with open_source(overlay) as source:
        assert source.info.image.sample_aspect == 1
        drawn = [frame_rgb(f).astype(int) for f in source.frames()]
    assert drawn[0].shape == pictures[0].shape and len(drawn) == 12
    assert np.median(np.abs(drawn[5] - pictures[5])) < 3  # nothing is squeezed between the lines
    assert Image.open(sheet).size[0] >= 192


@pytest.mark.slow
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(12, 25)])
def test_a_squeezed_clip_is_dubbed_as_the_square_one(
    aspect: Fraction, clip: Path, pictures: Pictures, track: Track, tmp_path: Path
) -> None:
    """The same pixels are drawn, in the same place; all others stay, bit for bit."""
    actor = write_flat_actor(tmp_path / "flat.actor", track)
    narrow = write_squeezed(tmp_path / "narrow.mkv", pictures, aspect)
    wav = write_wav(tmp_path / "new.wav", COUNT / 25)
    covered, drawn = [], []
    for source in (clip, narrow):
        out, matte = tmp_path / f"{source.stem}.dub.mkv", tmp_path / f"{source.stem}.matte.mkv"
        args = ["dub", source, "--dialogue", wav, "--actor", actor, "-o", out, "--matte", matte]
        assert run([*map(str, args)]) == 0
        report = json.loads(out.with_name(f"{out.name}.report.json").read_text())
        drawn.append(report["drawn"])
        with open_source(source) as before, open_source(out) as after, open_source(matte) as mattes:
            planes = zip(before.frames(), after.frames(), mattes.frames(), strict=True)
            share = []
            for old, new, m in planes:
                outside = np.asarray(m.planes[0]) == 0
                assert np.array_equal(old.planes[0][outside], new.planes[0][outside])
                share.append((np.asarray(m.planes[0]) > 127).mean())
        covered.append(float(np.mean(share)))
    assert drawn == [COUNT, COUNT] and covered[1] == pytest.approx(covered[0], rel=0.03)


def test_the_mouth_of_finished_frames_is_measured_with_square_pixels(
    pictures: Pictures, track: Track
) -> None:
    part = replace(track.span(FrameRange(0, 4)), pixel_aspect=Fraction(1, 2))
    with OutputFaces(part) as faces:
        for picture in squeezed(pictures[:4], Fraction(1, 2)):
            faces.add(picture)
        mouth = faces.mouth([0, 1, 2, 3])
    assert mouth.lip_distance.max() < 2  # % of the face width
