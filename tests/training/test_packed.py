"""Packed clips: what is read is what was written, and what is not whole says so."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import write_squeezed
from safetensors.numpy import save

from training.core.config import VIEW
from training.data.packed import INDEX, META, RATE, SUFFIX, Dataset, PackedClip, read_whole, thinned
from training.data.prepare import Packing, ShardJob, Survey, pack_clip
from training.data.sources import Source
from training.data.uvmap import pack_uv
from visualdub.box import Box
from visualdub.errors import BadInput, NoFace
from visualdub.face.camera import Camera
from visualdub.face.crop import SIZE, stable_crop, warp_crop
from visualdub.face.geometry import frame_geometry
from visualdub.face.models import DEFAULT_FACE_MODEL
from visualdub.face.track import Performance, Track
from visualdub.face.tracker import cached_track
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.timing import FrameRange

ALL = Box(0, 0, SIZE, SIZE)


TRAIN = Packing("train", 1500, 90)


def _source(clip: Path, name: str, listed_ms: float | None = None) -> Source:
    return Source(clip, name, name, "portrait", av_offset_ms=listed_ms)


@pytest.fixture(scope="module")
def track(talking: Path) -> Track:
    return cached_track(talking)[0]


@pytest.fixture(scope="module")
def shard(talking: Path, track: Track, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    facts = pack_clip(_source(talking, "talking"), track, folder, TRAIN)
    assert facts.av_offset_ms is None  # it hums
    assert (facts.frames, facts.usable, facts.sound, facts.source_hash) == (
        40,
        int(track.usable.sum()),
        True,
        track.source_hash,
    )
    return folder / f"talking{SUFFIX}"


def test_the_sound_is_packed_where_the_pictures_show_it(
    talking: Path, track: Track, shard: Path, tmp_path: Path
) -> None:
    """Nobody speaks in the clip, so that the listed offset stands: pictures one frame late show the sound of
    a frame earlier.
    """
    facts = pack_clip(_source(talking, "late", 40), track, tmp_path, TRAIN)
    late, plain = PackedClip(tmp_path / f"late{SUFFIX}", ALL).mel, PackedClip(shard, ALL).mel
    assert facts.av_offset_ms == 40 and late is not None and plain is not None
    assert np.array_equal(late[10:], plain[9:-1]) and not np.array_equal(late[10:], plain[10:])


# ---- what comes back ---------------------------------------------------------------------------------------


def test_crops_come_back_as_close_as_webp_keeps_them(shard: Path, talking: Path, track: Track) -> None:
    clip, crop = PackedClip(shard, ALL), stable_crop(track)
    frames = [frame_rgb(f) for f in open_source(talking).frames()]
    off = [
        np.abs(clip.view([i]).crops[0].astype(int) - warp_crop(frames[i], crop.affine[i]))
        for i in (0, 17, 39)
    ]
    assert np.mean(off) < 2.5  # 1.87 measured, of 255; x86-64, OpenCV 4.11
    assert np.percentile(off, 99) < 12  # 7 measured
    assert np.max(off) < 40  # 20 measured: edges of colour, of which WebP keeps a quarter


def test_crops_of_a_clip_with_wide_pixels_show_the_face_as_it_is(
    shard: Path, track: Track, talking: Path, tmp_path: Path
) -> None:
    """Its columns are squeezed to a half; packed with the track of the clip that has square pixels."""
    clip = write_squeezed(
        tmp_path / "wide.mkv", [frame_rgb(f) for f in open_source(talking).frames()], Fraction(2)
    )
    pack_clip(_source(clip, "wide"), replace(track, pixel_aspect=Fraction(2)), tmp_path, TRAIN)
    wide, square = PackedClip(tmp_path / f"wide{SUFFIX}", ALL), PackedClip(shard, ALL)
    assert wide.track.pixel_aspect == wide.crop.pixel_aspect == 2 and square.track.pixel_aspect == 1
    assert np.array_equal(wide.mouth, square.mouth) and np.array_equal(wide.crop.affine, square.crop.affine)
    apart = np.abs(wide.view([17]).crops[0].astype(int) - square.view([17]).crops[0])
    assert apart.mean() < 6


def test_a_shard_made_before_pixels_had_a_shape_is_reused_for_square_ones_alone(talking: Path) -> None:
    survey = Survey(FrameRange(0, 40), RATE, (320, 376), "0")
    jobs = [
        ShardJob(_source(talking, "a"), s, "train", 40, 90, DEFAULT_FACE_MODEL, talking.parent)
        for s in (survey, replace(survey, pixel_aspect=Fraction(2)))
    ]
    square, wide = (json.loads(job.recipe()) for job in jobs)
    assert "pixel_aspect" not in square and wide == {"pixel_aspect": "2"} | square


def test_uv_maps_and_masks_are_those_of_the_geometry(shard: Path, track: Track) -> None:
    clip, crop = PackedClip(shard, ALL), stable_crop(track)
    rows = [3, 20]
    view = clip.view(rows)
    for k, i in enumerate(rows):
        geometry = frame_geometry(track, crop, Performance.of_track(track), i)
        assert np.array_equal(view.uv[k], pack_uv(geometry.uv))
        assert np.array_equal(view.mask[k], geometry.mask > 0.5)
    assert view.mask.any() and (view.uv < 65535).any()


def test_a_clip_serves_the_part_that_is_asked_for(shard: Path) -> None:
    left, top, right, bottom = VIEW
    whole, part = PackedClip(shard, ALL).view([5, 6]), PackedClip(shard, VIEW).view([5, 6])
    assert part.crops.shape == (2, bottom - top, right - left, 3)
    for a, b in zip(whole, part, strict=True):
        assert np.array_equal(a[:, top:bottom, left:right], b)


def test_sound_and_lips_are_kept(shard: Path, track: Track) -> None:
    clip = PackedClip(shard, ALL)
    assert clip.mel is not None and clip.mel.shape == (40, 80, 16) and clip.mel.max() > 0.5
    x0, y0, x1, y1 = clip.mouth[10]
    lips = (
        track.landmarks[10, [61, 291, 0, 17], :2] @ clip.crop.affine[10, :, :2].T + clip.crop.affine[10, :, 2]
    )
    assert (lips > (x0, y0)).all() and (lips < (x1, y1)).all()
    assert np.array_equal(clip.track.jaw, track.jaw) and clip.track.rate == track.rate


def test_frames_stay_in_memory_where_asked(shard: Path) -> None:
    clip, plain = PackedClip(shard, VIEW, keep=True), PackedClip(shard, VIEW)
    first = clip.view([8, 9, 8, 0])
    assert clip._cache is not None and np.flatnonzero(clip._cache.cached).tolist() == [0, 8, 9]
    for a, b, c in zip(first, clip.view([8, 9, 8, 0]), plain.view([8, 9, 8, 0]), strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)
    assert plain._cache is None


def test_a_clip_with_hardly_a_face_is_refused(talking: Path, track: Track, tmp_path: Path) -> None:
    rare = replace(track, confidence=np.where(np.arange(40) < 24, track.confidence, 0).astype(np.float32))
    with pytest.raises(NoFace, match="24 frames with a usable face; expected 25"):
        pack_clip(_source(talking, "rare"), rare, tmp_path, TRAIN)
    assert not list(tmp_path.iterdir())


# ---- what is not whole -------------------------------------------------------------------------------------


def _rewritten(shard: Path, path: Path, **changes: str) -> Path:
    meta, tensors = read_whole(shard)
    path.write_bytes(save(tensors, {META: json.dumps(meta | changes)}))
    return path


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_shard_names_itself(shard: Path, tmp_path: Path, share: float) -> None:
    cut = tmp_path / "cut.shard"
    cut.write_bytes(shard.read_bytes()[: int(share * shard.stat().st_size)])
    for reading in (lambda: PackedClip(cut, ALL), lambda: read_whole(cut)):
        with pytest.raises(BadInput, match=r"cut\.shard is not a whole shard"):
            reading()


def test_a_missing_shard_names_itself(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.shard"):
        PackedClip(tmp_path / "gone.shard", ALL)


def test_a_changed_byte_is_found(shard: Path, tmp_path: Path) -> None:
    data = bytearray(shard.read_bytes())
    for place in (len(data) // 2, len(data) - 3):
        bad = tmp_path / "bad.shard"
        bad.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(BadInput, match=r"bad\.shard is damaged"):
            read_whole(bad)


def test_a_picture_that_is_none_names_its_shard(shard: Path, tmp_path: Path) -> None:
    meta, tensors = read_whole(shard)
    bad = tmp_path / "bad.shard"
    bad.write_bytes(
        save(tensors | {"pictures": np.zeros_like(tensors["pictures"])}, {META: json.dumps(meta)})
    )
    with pytest.raises(BadInput, match=r"bad\.shard: frame 7 cannot be decoded"):
        PackedClip(bad, ALL).view([7])
    bad.write_bytes(save(tensors | {"ends": np.zeros_like(tensors["ends"])}, {META: json.dumps(meta)}))
    with pytest.raises(BadInput, match=r"bad\.shard: frame 7 cannot be decoded"):
        PackedClip(bad, ALL).view([7])


def test_another_schema_and_another_face_model_are_refused(shard: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.shard"
    with pytest.raises(BadInput, match=r"other\.shard is a shard of schema 99; this version reads schema 1"):
        PackedClip(_rewritten(shard, path, schema="99"), ALL)
    with pytest.raises(
        BadInput, match=rf"other\.shard was made with face model flame; expected {DEFAULT_FACE_MODEL}"
    ):
        PackedClip(_rewritten(shard, path, face_model="flame"), ALL)


def test_an_index_that_is_none_names_itself(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"holds no dataset\.json"):
        Dataset(tmp_path)
    for text in (
        "{",
        "[]",
        '{"schema": 1}',
        '{"schema": 1, "clips": [{"name": "a"}]}',
        '{"schema": 7, "clips": []}',
    ):
        (tmp_path / INDEX).write_text(text)
        with pytest.raises(BadInput, match=r"dataset\.json"):
            Dataset(tmp_path)


def test_a_shard_of_another_length_than_the_index_says_is_refused(shard: Path, tmp_path: Path) -> None:
    facts = {
        "name": "talking",
        "speaker": "p",
        "split": "train",
        "frames": 39,
        "usable": 39,
        "face_pixels": 1.0,
        "source_hash": "",
        "sound": True,
    }
    (tmp_path / INDEX).write_text(json.dumps({"schema": 1, "clips": [facts]}))
    (tmp_path / shard.name).write_bytes(shard.read_bytes())
    dataset = Dataset(tmp_path)
    assert list(dataset.people("train")) == ["p"] and dataset.people("validation") == {}
    with pytest.raises(BadInput, match=r"talking\.shard holds 40 frames, dataset\.json says 39"):
        dataset.open(dataset.clips[0], ALL)


# ---- 25 frames a second ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "count", "most", "rows"),
    [
        (
            Fraction(30),
            12,
            1500,
            [0, 1, 3, 4, 5, 6, 7, 9, 10, 11],
        ),  # middle of frame i is at 1.2 i + 0.6 frames of the clip
        (Fraction(30), 12, 3, [0, 1, 3]),
        (Fraction(25), 6, 1500, [0, 1, 2, 3, 4, 5]),
        (Fraction(50), 6, 1500, [1, 3, 5]),  # at 2 i + 1
        (Fraction(24000, 1001), 5, 1500, [0, 1, 2, 3, 4]),  # slower than 25: all frames, its own rate
        (Fraction(30000, 1001), 7, 1500, [0, 1, 2, 4, 5]),  # at 1.1988 i + 0.5994: 0.60 1.80 2.997 4.20 5.39
    ],
)
def test_thinned_takes_the_frame_on_screen(
    track: Track, rate: Fraction, count: int, most: int, rows: list[int]
) -> None:
    per_frame = ("landmarks", "confidence", "scale", "rotation", "translation", "jaw", "expression")
    given = replace(track, rate=rate, **{k: getattr(track, k)[:count] for k in per_frame})
    thin, taken = thinned(given, most)
    assert taken.tolist() == rows
    assert thin.rate == min(rate, RATE)
    assert np.array_equal(thin.jaw, track.jaw[rows]) and np.array_equal(
        thin.landmarks, track.landmarks[rows], equal_nan=True
    )
    assert np.array_equal(thin.identity, track.identity)


@pytest.mark.slow
def test_a_shard_keeps_its_tracks_camera(talking: Path, track: Track, tmp_path: Path) -> None:
    near = replace(track, camera=Camera(900.0, (160.0, 188.0)))
    pack_clip(_source(talking, "near"), near, tmp_path, TRAIN)
    clip = PackedClip(tmp_path / f"near{SUFFIX}", ALL)
    assert clip.track.camera == near.camera
    expected = frame_geometry(near, stable_crop(near), Performance.of_track(near), 3).mask
    assert np.array_equal(clip.view([3]).mask[0] > 0, expected > 0)
