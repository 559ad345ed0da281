"""Several people of one shot are drawn in one pass, each over the frames in which the others are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers import portrait_pictures, write_flat_actor, write_movie, write_wav
from numpy.typing import NDArray

from visualdub.actor.package import Actor, load_actor
from visualdub.dub import Output, TrackedShot, track_shot
from visualdub.dub_people import Part, dub_people
from visualdub.edit.shot import DialogueCue, plan_shot
from visualdub.errors import BadInput, InternalError
from visualdub.face.geometry import filmed_mesh
from visualdub.face.raster import rasterise
from visualdub.face.track import Performance, Track
from visualdub.media.source import open_source
from visualdub.records import read_provenance
from visualdub.render.shot_renderer import RenderedFrame, RenderOptions, ShotRenderer, stacked
from visualdub.render.watermark import WatermarkReader, payload_from_text, payload_text
from visualdub.timing import FrameRange

COUNT = 8
PLAIN = RenderOptions(watermark=False)


class Pair(NamedTuple):
    """A shot of two people side by side, the right one smaller, each with the actor who is drawn on them."""

    left: TrackedShot
    right: TrackedShot
    first: Actor
    second: Actor


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    large, small = portrait_pictures(COUNT), portrait_pictures(COUNT, 300)
    pictures = []
    for a, b in zip(large, small, strict=True):
        beside = np.full((a.shape[0], b.shape[1], 3), 90, np.uint8)
        beside[: b.shape[0]] = b
        pictures.append(np.ascontiguousarray(np.hstack([a, beside])))
    shot = plan_shot(write_movie(folder / "pair.mkv", pictures))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISUALDUB_CACHE", str(folder / "cache"))
        left, right = track_shot(shot, "160,150"), track_shot(shot, f"{large[0].shape[1] + 128},120")
    actors = [
        load_actor(write_flat_actor(folder / f"{name}.actor", tracked.track))
        for name, tracked in (("anna", left), ("ben", right))
    ]
    return Pair(left, right, *actors)


def renderer_of(tracked: TrackedShot, actor: Actor, options: RenderOptions | None = PLAIN) -> ShotRenderer:
    performance = Performance.of_track(tracked.track)
    return ShotRenderer(tracked.shot, actor, track=tracked.track, performance=performance, options=options)


def both(pair: Pair, options: RenderOptions | None = PLAIN) -> list[ShotRenderer]:
    return [renderer_of(pair.left, pair.first, options), renderer_of(pair.right, pair.second, options)]


def luma(done: RenderedFrame) -> NDArray[np.generic]:
    return done.frame.planes[0]


def test_each_is_drawn_over_the_other_in_one_pass(pair: Pair) -> None:
    alone = [list(one.frames()) for one in both(pair)]
    top = stacked(both(pair))
    assert [person.actor.record.name for person in top.people] == ["ben", "anna"]
    with open_source(pair.left.shot.source) as source:
        plates = list(source.frames(pair.left.shot.frames))
    done = list(top.frames())
    assert len(done) == COUNT
    for frame, plate, anna, ben in zip(done, plates, *alone, strict=True):
        assert anna.matte.any() and ben.matte.any() and not (anna.matte.astype(bool) & ben.matte).any()
        assert (frame.matte == np.maximum(anna.matte, ben.matte)).all() and frame.drawn
        for mine, was, one, other in zip(
            frame.frame.planes, plate.planes, anna.frame.planes, ben.frame.planes, strict=True
        ):
            step = plate.planes[0].shape[0] // mine.shape[0]
            a, b = (m[::step, ::step] > 0 for m in (anna.matte, ben.matte))
            assert (mine[a] == one[a]).all() and (mine[b] == other[b]).all()
            assert (mine[~a & ~b] == was[~a & ~b]).all()
        assert (luma(frame)[anna.matte == 255] != plate.planes[0][anna.matte == 255]).any()
        assert (luma(frame)[ben.matte == 255] != plate.planes[0][ben.matte == 255]).any()


def test_frames_are_decoded_once_and_any_range_is_the_whole_runs(pair: Pair) -> None:
    renderers = both(pair)
    top = stacked(renderers)
    whole = {f.frame.index: f for f in top.frames()}
    clocks = {id(r.clock): r.clock for r in renderers}.values()
    assert sum(c.stages["decode"].frames for c in clocks if "decode" in c.stages) == COUNT
    for wanted in (FrameRange(0, 1), FrameRange(5, 8)):
        for frame in top.frames(wanted):
            same = whole[frame.frame.index]
            assert all((a == b).all() for a, b in zip(frame.frame.planes, same.frame.planes, strict=True))
            assert (frame.matte == same.matte).all()


def test_one_watermark_names_them_all(pair: Pair) -> None:
    renderers = both(pair, None)
    alone = [r.watermark for r in renderers]  # of each job alone
    top = stacked(renderers)
    marks = [person.watermark for person in top.people]
    assert all(mark is not None for mark in (*alone, *marks))
    payloads = [payload_text(mark.bits) for mark in (*alone, *marks) if mark is not None]
    assert payloads[2] == payloads[3] and len(set(payloads)) == 3
    assert top.key(0) != renderers[0].key(0) and top.key(0).shot == renderers[0].key(0).shot
    readers = WatermarkReader(), WatermarkReader()
    for frame in top.frames():
        middle = pair.left.shot.info.image.width // 2
        for reader, columns in zip(readers, (slice(0, middle), slice(middle, None)), strict=True):
            matte = np.zeros_like(frame.matte)
            matte[:, columns] = frame.matte[:, columns]
            reader.add(luma(frame), matte=matte)
    wanted = payload_from_text(payloads[2])
    for reader in readers:
        voted = reader.certainty > 0  # some bits have no block
        assert voted.mean() > 0.7 and (reader.bits == wanted)[voted].mean() > 0.9


def moved(track: Track, right: float, down: float, scale: float) -> Track:
    """The same head in another place and of another size."""
    return replace(track, scale=track.scale * scale, translation=track.translation + np.array([right, down]))


@pytest.mark.parametrize("turned", [False, True])
def test_where_faces_overlap_the_larger_one_is_in_front(pair: Pair, turned: bool) -> None:
    near = pair.left
    width = float(np.ptp(filmed(near.track, 0)[:, 0]))
    far = replace(near, track=moved(near.track, 0.35 * width, -0.3 * width, 0.8))
    alone = list(renderer_of(near, pair.first).frames())
    behind = list(renderer_of(far, pair.first).frames())
    parts = [renderer_of(near, pair.first), renderer_of(far, pair.first)]
    done = list(stacked(parts[::-1] if turned else parts).frames())
    with open_source(near.shot.source) as source:
        plates = list(source.frames(near.shot.frames))
    for i, frame in enumerate(done):
        face = silhouette(near.track, i, luma(frame).shape)
        met = face & (behind[i].matte == 255)
        cheek = met & (alone[i].matte == 0)  # of the near face, where the far mouth alone would be drawn
        assert met.sum() > 100 and cheek.sum() > 50
        assert (luma(frame)[cheek] == plates[i].planes[0][cheek]).all()
        assert (luma(behind[i])[cheek] != plates[i].planes[0][cheek]).any()
        full = alone[i].matte == 255
        assert np.abs(luma(frame)[full].astype(int) - luma(alone[i])[full]).mean() < 2
        beyond = (behind[i].matte == 255) & ~face & (alone[i].matte == 0)
        assert (
            luma(frame)[beyond] != plates[i].planes[0][beyond]
        ).any()  # the rest of the far mouth is drawn


def filmed(track: Track, i: int) -> NDArray[np.float64]:
    """The mesh in the clip's pixels."""
    from visualdub.face.crop import Crop

    return filmed_mesh(track, Crop(np.tile(np.eye(2, 3), (len(track), 1, 1))), i)


def silhouette(track: Track, i: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W) the face itself, without the pixels along its border."""
    import cv2

    hit = rasterise(filmed(track, i), track.model.face_triangles, shape[0], shape[1]).hit
    return np.asarray(cv2.erode(hit.astype(np.uint8), np.ones((7, 7), np.uint8)), np.bool_)


def test_people_of_other_frames_are_not_drawn_together(pair: Pair) -> None:
    part = pair.right.trim(FrameRange(2, 6))
    with pytest.raises(InternalError, match="of several shots"):
        stacked([renderer_of(pair.left, pair.first), renderer_of(part, pair.second)])


# ---- the whole dub -----------------------------------------------------------------------------------------


def test_records_name_everybody_who_speaks(pair: Pair, tmp_path: Path) -> None:
    words = [write_wav(tmp_path / f"{name}.wav", 0.3) for name in ("anna", "ben")]
    sound = DialogueCue(write_wav(tmp_path / "both.wav", 0.32))
    parts = [
        Part(pair.left, DialogueCue(words[0]), pair.first),
        Part(pair.right, DialogueCue(words[1]), pair.second),
    ]
    out = tmp_path / "out.mkv"
    report = dub_people(parts, sound, Output(out))
    assert report.frames == COUNT and report.drawn == COUNT and report.passed == ()
    record = read_provenance(out)
    assert [(p.actor, p.dialogue, p.drawn) for p in record.people] == [
        ("ben", "ben.wav", COUNT),
        ("anna", "anna.wav", COUNT),
    ]
    assert record.people == report.people and record.dialogue == "both.wav"
    assert record.watermark.on and record.watermark.box is not None
    assert record.watermark.box[0] < 200 and record.watermark.box[2] > 400  # around both mouths
    with pytest.raises(BadInput, match="anna and ben are both taken for person 0"):
        dub_people([parts[0], replace(parts[1], tracked=pair.left)], sound, Output(out))


def test_who_is_not_seen_is_heard_and_not_drawn(pair: Pair, tmp_path: Path) -> None:
    away = replace(pair.right.track, confidence=np.zeros(COUNT, np.float32))
    voice = DialogueCue(write_wav(tmp_path / "a.wav", 0.3))
    parts = [
        Part(pair.left, voice, pair.first),
        Part(replace(pair.right, track=away), voice, pair.second),
    ]
    report = dub_people(parts, voice, Output(tmp_path / "out.mkv"))
    assert report.drawn == COUNT and "ben is not seen in the shot and is heard alone" in report.notes
    assert [p.actor for p in report.people] == ["anna"]
