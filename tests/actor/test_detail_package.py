"""Detail frames of a package: chosen, written, read, added to older packages."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from visualdub.actor import load_actor
from visualdub.actor.detail import FOLDER, NUMBERS, read_detail, write_detail
from visualdub.actor.footage import DetailClip, choose_frames, detail_of, footage_of
from visualdub.actor.package import RENDERER
from visualdub.cli import run
from visualdub.errors import ActorError, BadInput
from visualdub.face.crop import stable_crop
from visualdub.face.geometry import filmed_mesh
from visualdub.face.track import Track
from visualdub.face.tracker import track_clip
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.render.detail_frames import DetailFrames
from visualdub.timing import FrameRange


@pytest.fixture(scope="module")
def track(talking: Path) -> Track:
    return track_clip(talking)


@pytest.fixture(scope="module")
def frames(talking: Path, track: Track) -> DetailFrames:
    found = detail_of([DetailClip(talking, track.span(FrameRange(3, 9)))])
    assert found is not None
    return found


def moved(track: Track, jaw: NDArray[np.float64]) -> Track:
    """The track with another jaw, and nothing else that moves."""
    rotation = np.tile(track.rotation[:1], (len(track), 1, 1))
    return replace(track, jaw=jaw, expression=np.zeros_like(track.expression), rotation=rotation)


# ---- choosing ----------------------------------------------------------------------------------------------


def test_few_frames_hold_all_that_the_footage_shows(track: Track) -> None:
    jaw = np.full(len(track), 0.05)
    jaw[[7, 20, 33]] = 0.3, -0.1, 0.15
    chosen = choose_frames([moved(track, jaw)], most=4)
    assert len(chosen) == 4 and {i for _, i in chosen[1:]} == {7, 20, 33}
    confidence = track.confidence.copy()
    confidence[7] = 0
    lost = choose_frames([replace(moved(track, jaw), confidence=confidence)], most=100)
    assert len(lost) == len(set(lost)) == len(track) - 1 and (0, 7) not in lost
    both = choose_frames([moved(track, jaw * 0), moved(track, jaw)], most=4)
    assert {(1, 7), (1, 20)} <= set(both)


def test_the_pictures_are_the_footages_own(talking: Path, track: Track, frames: DetailFrames) -> None:
    assert frames.number.tolist() == list(range(3, 9)) and set(frames.source_hash) == {track.source_hash}
    crop = stable_crop(track.span(FrameRange(3, 9)))
    shown = frames.frame(2, track.model)
    with open_source(talking) as source:
        (plate,) = source.frames(FrameRange(5, 6))
    nose = filmed_mesh(track.span(FrameRange(3, 9)), crop, 2)[[17, 61, 291], :2]  # chin and mouth's corners
    affine = crop.stored_affine[2]
    on_plate = (nose - affine[:, 2]) / affine[[0, 1], [0, 1]]
    shift = on_plate - shown.mesh[[17, 61, 291], :2]
    np.testing.assert_allclose(shift, np.tile(np.rint(shift[0]), (3, 1)), atol=0.05)
    left, top = np.rint(shift[0]).astype(int)
    height, width = shown.picture.shape[:2]
    real = frame_rgb(plate)[top : top + height, left : left + width].astype(int)
    assert np.abs(real - shown.picture[..., :3]).mean() < 2.5  # 1.97 here, of JPEG


def test_pictures_stay_within_the_bytes(talking: Path, track: Track, frames: DetailFrames) -> None:
    sizes = [len(p) for p in frames.pictures]
    few = detail_of([DetailClip(talking, track.span(FrameRange(3, 9)))], most_bytes=sum(sizes) // 2)
    assert few is not None and 1 <= len(few) < len(frames)
    assert sum(len(p) for p in few.pictures) <= sum(sizes) // 2
    assert set(few.pictures) <= set(frames.pictures)


# ---- in a package ------------------------------------------------------------------------------------------


def test_what_is_written_is_read(frames: DetailFrames, tmp_path: Path) -> None:
    assert read_detail(tmp_path) is None
    write_detail(tmp_path, frames)
    found = read_detail(tmp_path)
    assert found is not None and found.digest == frames.digest and found.pictures == frames.pictures
    np.testing.assert_array_equal(found.mesh, frames.mesh)
    changed = replace(frames, jaw=frames.jaw + 1e-9)
    assert changed.digest != frames.digest


def test_what_is_no_detail_is_refused(frames: DetailFrames, tmp_path: Path) -> None:
    write_detail(tmp_path, frames)
    (tmp_path / FOLDER / "002.jpg").unlink()
    with pytest.raises(ActorError, match="are not detail frames written by vdub adapt"):
        read_detail(tmp_path)
    write_detail(tmp_path, replace(frames, jaw=frames.jaw[:-1]))
    with pytest.raises(ActorError, match="expected one entry for each frame"):
        read_detail(tmp_path)
    (tmp_path / FOLDER / NUMBERS).write_bytes(b"numbers")
    with pytest.raises(ActorError, match=r"frames\.npz and its pictures are not detail frames"):
        read_detail(tmp_path)


def test_frames_are_added_to_an_older_package(talking: Path, flat_actor: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(flat_actor, tmp_path / "old.actor"))
    assert load_actor(folder).detail_frames is None
    network = (folder / RENDERER).read_bytes()
    for _ in range(2):  # what is there is replaced
        assert run(["actor", "detail", str(folder), str(talking)]) == 0
        found = load_actor(folder).detail_frames
        assert found is not None and found.number.tolist() == [0, 1, 2, 3, 4]  # it was adapted on these
    assert (folder / RENDERER).read_bytes() == network
    (folder / FOLDER / "000.jpg").write_bytes(b"another picture")
    with pytest.raises(ActorError, match="is not the file this package was sealed with"):
        load_actor(folder)


def test_only_what_the_actor_was_adapted_on_is_kept(track: Track, flat_actor: Path) -> None:
    record = load_actor(flat_actor).record
    with pytest.raises(BadInput, match=r"flat was not adapted on this clip; expected talking.mkv"):
        footage_of(record, Path("other.mkv"), replace(track, source_hash="other"))
