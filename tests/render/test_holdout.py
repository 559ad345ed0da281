"""Holdouts: what lies before the mouth keeps its pixels, whatever says so."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import portrait_pictures, write_movie
from numpy.typing import NDArray
from render_scene import SIZE, affine, ellipse, frame, image_of, picture

from visualdub.cli import run
from visualdub.errors import BadInput, MediaError
from visualdub.face.hands import LOOK_EVERY, Hand, followed, search
from visualdub.face.mediapipe_models import HandFinder
from visualdub.measure.drawn_occluders import HAND_POINTS, hand_sprite, paste
from visualdub.media.frame import Frame
from visualdub.media.holdout_matte import open_holdout_matte, picture_files, read_picture
from visualdub.media.source import open_source, probe
from visualdub.media.yuv import planes_to_rgb
from visualdub.records import read_provenance
from visualdub.render.composite import composite, feather
from visualdub.render.holdout import FREE, HELD, Holdout, finger_width, hand_matte
from visualdub.render.watermark import Watermark, payload_bits
from visualdub.timing import FrameRange

PATCH = np.full((SIZE, SIZE, 3), (0.8, 0.3, 0.2), np.float32)
MARK = Watermark(payload_bits("a job"))
FORMATS = ["yuv420p", "yuv422p10le", "yuv411p", "yuv444p", "gbrp", "gray"]
BAR = slice(171, 202)  # columns of the frame that are held out; odd borders cut chroma samples in two


def barred(width: int, height: int) -> NDArray[np.uint8]:
    """A matte with a white bar from top to bottom, a soft edge on its left."""
    matte = np.zeros((height, width), np.uint8)
    matte[:, BAR] = 255
    matte[:, BAR.start - 8 : BAR.start] = np.linspace(20, 235, 8).astype(np.uint8)
    return matte


def same_at(a: Frame, b: Frame, pixels: NDArray[np.bool_]) -> bool:
    """Whether every sample that any of `pixels` (H, W) shares is the same, in all planes."""
    for p, q in zip(a.planes, b.planes, strict=True):
        y, x = (-(-n // m) for n, m in zip(pixels.shape, p.shape, strict=True))
        differs = (p != q).repeat(y, 0).repeat(x, 1)[: pixels.shape[0], : pixels.shape[1]]
        if (differs & pixels).any():
            return False
    return True


# ---- compositing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("size", [(360, 300), (361, 299)])
def test_under_a_full_holdout_every_sample_is_the_plates(pix_fmt: str, size: tuple[int, int]) -> None:
    """Colour, grain and mark are all on; chroma samples that straddle the border count too."""
    plate = frame(picture(*size, noise=0.02), image_of(*size, pix_fmt))
    matte = barred(*size)
    done = composite(
        plate, PATCH, feather(ellipse()), affine(0.9, 190.3, 150.7), mark=MARK, holdout=Holdout(frame=matte)
    )
    held = matte == 255
    assert same_at(plate, done.frame, held)
    assert not done.matte[held & (done.matte < 255)].any() and not done.matte[held].any()
    beside = np.zeros_like(held)
    beside[140:170, BAR.stop + 4 : BAR.stop + 20] = True
    assert (done.matte[beside] > 200).all() and not same_at(plate, done.frame, beside)


def test_a_holdout_of_the_crop_lands_where_the_crop_lies() -> None:
    """A square of the crop, half as large as the plate's pixels; outside it the patch is drawn."""
    plate = frame(picture(720, 600), image_of(720, 600, "yuv444p"))
    square = np.zeros((SIZE, SIZE), np.float32)
    square[150:180, 110:150] = 1
    done = composite(plate, PATCH, feather(ellipse()), affine(0.5, 360, 300), holdout=Holdout(crop=square))
    held = np.zeros((600, 720), bool)  # crop x = 0.5 * plate x - 52, y = 0.5 * plate y - 22
    held[346:402, 326:402] = True
    assert same_at(plate, done.frame, held)
    assert (done.matte[330:335, 340:390] == 255).all() and (done.matte[350:400, 410:420] == 255).all()


def test_what_is_held_out_does_not_colour_the_drawn_mouth() -> None:
    """A darker hand across the mask's border: beside it the mouth is drawn as without the hand."""
    rgb = picture(360, 300)
    marred = rgb.copy()
    hand = slice(100, 200)
    marred[:, hand] -= 0.12
    info, at, alpha = image_of(360, 300, "yuv444p"), affine(1.0, 180, 150), feather(ellipse())
    plain = composite(frame(rgb, info), PATCH, alpha, at, with_grain=False)
    matte = np.zeros((300, 360), np.uint8)
    matte[:, hand.start - 4 : hand.stop + 4] = 255
    held = composite(frame(marred, info), PATCH, alpha, at, with_grain=False, holdout=Holdout(frame=matte))
    drawn = composite(frame(marred, info), PATCH, alpha, at, with_grain=False)
    a, b, c = (planes_to_rgb(x.frame.planes, info)[130:230, 206:212] for x in (plain, held, drawn))
    assert 3 * np.abs(a - b).mean() < 0.01 < np.abs(a - c).mean()


def test_a_holdout_over_everything_leaves_the_frame() -> None:
    plate = frame(picture(360, 300), image_of(360, 300))
    done = composite(
        plate,
        PATCH,
        feather(ellipse()),
        affine(1.0, 180, 150),
        holdout=Holdout(crop=np.ones((SIZE, SIZE), np.float32)),
    )
    assert not done.matte.any() and all(p is q for p, q in zip(done.frame.planes, plate.planes, strict=True))


# ---- hands -------------------------------------------------------------------------------------------------


def test_the_matte_of_a_hand_covers_it_and_little_else() -> None:
    sprite, hand = hand_sprite(200), (HAND_POINTS * 200 + (20, 40)).astype(np.float32)
    shape = paste(np.zeros((SIZE, SIZE, 3), np.uint8), sprite, 20, 40)
    matte = hand_matte([hand], SIZE)
    wrist = int(hand[0, 1])  # MediaPipe's landmarks end there
    assert (matte[:wrist][shape[:wrist] > 0.5] > 0.98).mean() > 0.99
    assert float((matte[:wrist] > 0).sum()) < 2 * float((shape[:wrist] > 0.5).sum())
    assert matte[10, 128] == 0 and matte[150, 240] == 0  # above the fingers, beside the palm
    soft = np.abs(np.diff(matte, axis=1)).max()
    assert soft < 1.6 / ((FREE - HELD) * finger_width(hand))  # smoothstep's steepest slope is 1.5


def test_a_hand_outside_the_picture_holds_nothing_out() -> None:
    far = (HAND_POINTS * 100 - 300).astype(np.float32)
    assert not hand_matte([far], SIZE).any()


def test_a_finger_is_as_wide_as_knuckles_lie_apart_or_a_fifth_of_the_palm() -> None:
    hand = np.zeros((21, 2))
    hand[[5, 9, 13, 17], 0] = [0, 10, 20, 30]
    hand[0] = (10, 40)
    assert finger_width(hand) == pytest.approx(10)
    hand[[5, 9, 13, 17], 0] = [8, 10, 12, 14]  # turned aside
    assert finger_width(hand) == pytest.approx(8)


def test_mediapipe_finds_the_drawn_hand_over_a_face() -> None:
    rgb = portrait_pictures(1, height=512)[0]
    left, top = rgb.shape[1] / 2 - 120, 250
    paste(rgb, hand_sprite(240), left, top)
    with closing(HandFinder()) as finder:
        (hand,) = finder.hands(rgb)
    assert np.linalg.norm(hand - (HAND_POINTS * 240 + (left, top)), axis=1).mean() < 8


def test_hands_are_searched_on_a_grid_and_between_two_frames_of_it_where_one_has_a_hand() -> None:
    hand = HAND_POINTS.astype(np.float32) * 50
    looked: list[int] = []

    def look(i: int, shown: bool) -> list[Hand]:
        looked.append(i)
        return [hand] if shown else []

    found = dict(search(((i, 9 <= i < 14) for i in range(23)), look))
    assert LOOK_EVERY == 5 and sorted(looked) == [0, *range(5, 16), 20, 22]
    assert [i for i, hands in sorted(found.items()) if hands] == list(range(9, 14))


def test_a_lost_hand_moves_evenly_and_one_seen_once_is_none() -> None:
    hand = HAND_POINTS.astype(np.float32) * 50
    found = followed({0: [hand], 1: [hand + 2], 5: [hand + 10], 6: [hand + 12], 20: [hand], 21: []})
    assert sorted(found) == list(range(7))
    np.testing.assert_allclose(found[3][0], hand + 6, atol=1e-4)
    assert followed({0: [hand], 1: [hand + 500]}) == {}


# ---- the artist's matte ------------------------------------------------------------------------------------


def write_pictures(folder: Path, count: int, first: int = 1, size: tuple[int, int] = (320, 376)) -> Path:
    """Numbered pictures of 16 bits, each with as many white columns as its place from 0."""
    folder.mkdir()
    for i in range(count):
        matte = np.zeros((size[1], size[0]), np.uint16)
        matte[:, :i] = 65535
        assert cv2.imwrite(str(folder / f"matte.{first + i:04d}.png"), matte)
    return folder


def test_numbered_pictures_are_read_in_step_by_any_of_their_names(talking: Path, tmp_path: Path) -> None:
    info = probe(talking)
    folder = write_pictures(tmp_path / "mattes", info.frame_count, first=998)
    for name in (folder, folder / "matte.####.png", folder / "matte.%04d.png", folder / "matte.1000.png"):
        matte = open_holdout_matte(name, info)
        assert [int((m == 255).sum(1)[0]) for m in matte.frames(FrameRange(7, 10))] == [7, 8, 9]
    assert matte.files[0].name == "matte.0998.png" and len(matte.files) == info.frame_count
    again = open_holdout_matte(write_pictures(tmp_path / "more", info.frame_count), info)
    assert again.hash == matte.hash  # the same bytes under other names
    cv2.imwrite(str(again.files[3]), np.zeros((376, 320), np.uint8))
    assert open_holdout_matte(tmp_path / "more", info).hash != matte.hash


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_white_and_black_of_a_movie_are_whole(talking: Path, suffix: str, tmp_path: Path) -> None:
    """FFV1 holds R'G'B', H.264 Y'CbCr of limited range, which must not make white 235."""
    picture = np.zeros((376, 320, 3), np.uint8)
    picture[:, 160:] = 255
    movie = write_movie(tmp_path / f"matte{suffix}", [picture] * 40)
    (found,) = open_holdout_matte(movie, probe(talking)).frames(FrameRange(20, 21))
    assert found[:, :156].max() <= 5 and found[:, 164:].min() >= 250


def test_colour_counts_by_its_mean_and_alpha_does_not(tmp_path: Path) -> None:
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[..., :3] = (30, 60, 90)
    cv2.imwrite(str(tmp_path / "m1.png"), rgba)
    assert (read_picture(tmp_path / "m1.png") == 60).all()


@pytest.mark.slow
def test_a_matte_that_does_not_fit_is_refused(talking: Path, tmp_path: Path) -> None:
    info = probe(talking)
    short = write_pictures(tmp_path / "short", 12)
    with pytest.raises(BadInput, match="short is a matte of 12 frames, 320 x 376; expected 40 frames, 320 x"):
        open_holdout_matte(short, info)
    movie = write_movie(tmp_path / "fast.mkv", portrait_pictures(40), rate=info.rate * 2)
    with pytest.raises(BadInput, match="40 frames at 50/s, 320 x 376; expected 40 frames at 25/s"):
        open_holdout_matte(movie, info)
    small = write_pictures(tmp_path / "small", 40, size=(160, 188))
    with pytest.raises(BadInput, match="160 x 188; expected 40 frames, 320 x 376"):
        open_holdout_matte(small, info)


def test_pictures_that_are_no_sequence_are_refused(talking: Path, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "mattes", 5)
    (folder / "matte.0003.png").unlink()
    with pytest.raises(MediaError, match=r"the picture after matte\.0002\.png is missing"):
        picture_files(folder)
    (folder / "matte.0003.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"matte\.0003\.png is not a picture"):
        read_picture(folder / "matte.0003.png")
    (folder / "other.0001.png").write_bytes(b"")
    with pytest.raises(MediaError, match=r"holds pictures matte\.#\.png and other\.#\.png"):
        picture_files(folder)
    with pytest.raises(MediaError, match="no numbered pictures are there"):
        picture_files(tmp_path / "none.####.png")
    assert picture_files(talking) == ()


# ---- the option --------------------------------------------------------------------------------------------


def reenact(clip: Path, actor: Path, out: Path, *options: str | Path) -> int:
    """The exit status of a re-enactment of frames 5 to 9."""
    args = ("reenact", clip, "--actor", actor, "--frames", "5:10", "-o", out, *options)
    return run([str(a) for a in args])


@pytest.mark.slow
def test_an_artists_matte_is_followed_frame_by_frame(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    """White columns up to 100 + 10 times the clip's frame: what is right of them is drawn."""
    folder = tmp_path / "mattes"
    folder.mkdir()
    for i in range(40):
        matte = np.zeros((376, 320), np.uint8)
        matte[:, : 100 + 10 * i] = 255
        cv2.imwrite(str(folder / f"m{i:03d}.png"), matte)
    assert reenact(talking, flat_actor, tmp_path / "out.mkv", "--holdout", folder) == 0
    with open_source(talking) as before, open_source(tmp_path / "out.mkv") as after:
        for plate, done in zip(before.frames(FrameRange(5, 10)), after.frames(), strict=True):
            held = np.zeros((376, 320), bool)
            held[:, : 100 + 10 * plate.index] = True
            assert same_at(plate, done, held) and not same_at(plate, done, ~held)
    record = read_provenance(tmp_path / "out.mkv")
    assert record.holdout == "mattes" and len(record.holdout_hash or "") == 32
    assert reenact(talking, flat_actor, tmp_path / "plain.mkv") == 0
    plain = read_provenance(tmp_path / "plain.mkv")
    assert plain.holdout is None and record.job is not None and plain.job is not None
    assert record.job["options"] != plain.job["options"]


def test_a_matte_of_other_frames_ends_it_before_tracking(
    talking: Path,
    flat_actor: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("visualdub.face.tracker.find_people", None)  # tracking would fail otherwise
    movie = write_movie(tmp_path / "short.mkv", portrait_pictures(12))
    assert reenact(talking, flat_actor, tmp_path / "out.mkv", "--holdout", movie) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "short.mkv is a matte of 12 frames at 25/s" in line and "expected 40 frames at 25/s" in line


def test_a_matte_is_never_written_over(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = write_movie(tmp_path / "matte.mkv", [np.zeros((376, 320, 3), np.uint8)] * 40)
    folder = write_pictures(tmp_path / "mattes", 40)
    for out, matte in (
        (movie, movie),
        (folder / "out.mkv", folder),
        (folder / "matte.0007.png", folder / "matte.####.png"),
    ):
        assert reenact(talking, flat_actor, out, "--holdout", matte) == 2
        assert "a source is never written to" in capsys.readouterr().err
