"""Parts of the pipeline that a dub would still look whole without: each is seen in the written files."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import (
    portrait_motion,
    portrait_pictures,
    write_flat_actor,
    write_mean_renderer,
    write_movie,
    write_wav,
)
from numpy.typing import NDArray

from visualdub.actor.package import load_actor
from visualdub.cli import run
from visualdub.demo.portrait import Motion
from visualdub.demo.run import ENGLISH
from visualdub.dub import dialogue_performance, shot_audio, track_shot
from visualdub.edit import DialogueCue, plan_shot
from visualdub.face.tracker import cached_track
from visualdub.media.audio import read_audio
from visualdub.media.source import open_source, probe
from visualdub.records import read_provenance
from visualdub.render.watermark import WatermarkReader, payload_from_text
from visualdub.speech.performance import PerformanceAdjustments
from visualdub.speech.predict import MODEL, last_layer, model_hash
from visualdub.timing import FrameRange

RATE = 25


def vdub(*args: str | Path | int) -> None:
    """Run a command that must succeed."""
    assert run([str(a) for a in args]) == 0


def luma(path: Path) -> NDArray[np.int64]:
    """(n, H, W) the first plane of every frame."""
    with open_source(path) as source:
        return np.stack([np.asarray(f.planes[0]) for f in source.frames()]).astype(np.int64)


def still_head(jaw: NDArray[np.float64]) -> Motion:
    """A head that does nothing but open its mouth, jaw (n,) radians."""
    n = len(jaw)
    return replace(portrait_motion(n), jaw=jaw, turn=np.zeros((n, 3)))


# ---- tracking ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_second_face_is_not_dubbed_with_the_cached_track_of_the_first(tmp_path: Path) -> None:
    """Two people side by side, the left one larger; the right one is asked for after the left one."""
    left, right = portrait_pictures(6), portrait_pictures(6, height=300)
    wide = left[0].shape[1]
    pictures = []
    for a, b in zip(left, right, strict=True):
        picture = np.full((a.shape[0], wide + b.shape[1] // 2 * 2, 3), 200, np.uint8)
        picture[:, :wide] = a
        picture[-b.shape[0] :, wide : wide + b.shape[1]] = b
        pictures.append(picture)
    clip = write_movie(tmp_path / "two.mkv", pictures)
    actor = write_flat_actor(tmp_path / "flat.actor", cached_track(clip)[0])
    columns = []
    for face in (0, 1):
        out, matte = tmp_path / f"out{face}.mkv", tmp_path / f"matte{face}.mkv"
        shown = ("--frames", "0:6", "--face", face, "-o", out, "--matte", matte)
        vdub("reenact", clip, "--actor", actor, *shown)
        columns.append(np.flatnonzero(luma(matte).any((0, 1))))
    assert columns[0].max() < wide <= columns[1].min()


# ---- frames ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_part_of_a_delivered_clip_keeps_its_place_and_its_size(demo_clip: Path, tmp_path: Path) -> None:
    """H.264 with frames out of order, of which frames 30 to 41 are dubbed."""
    part, out = FrameRange(30, 42), tmp_path / "out.mkv"
    actor = write_flat_actor(tmp_path / "flat.actor", cached_track(demo_clip, frames=part)[0])
    wav = write_wav(tmp_path / "new.wav", 2.0)
    vdub("dub", demo_clip, "--dialogue", wav, "--actor", actor, "--frames", part, "-o", out)
    source, written = luma(demo_clip)[30:42], luma(out)
    assert written.shape == (12, 600, 512) and probe(out).rate == 25
    np.testing.assert_array_equal(written[:, :100], source[:, :100])  # well above the face
    assert (written != source).any((1, 2)).all()
    assert (np.abs(np.diff(source[:, :100], axis=0)).sum((1, 2)) > 0).all()  # each frame is another picture


# ---- sound -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_sound_of_a_re_enacted_segment_is_heard_from_its_first_frame_on(
    talking: Path, flat_actor: Path, tmp_path: Path
) -> None:
    out = tmp_path / "again.mkv"
    vdub("reenact", talking, "--actor", flat_actor, "--frames", "10:30", "-o", out)
    whole, part = read_audio(talking, 16000), read_audio(out, 16000)
    start, count = 10 * 16000 // RATE, 20 * 16000 // RATE
    assert len(part) == count
    np.testing.assert_allclose(part, whole[start : start + count], atol=1e-4)
    assert np.abs(part - whole[:count]).max() > 0.1  # the clip's first second sounds different


# ---- render ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_frame_drawn_alone_is_drawn_with_its_neighbours_in_view(tmp_path: Path) -> None:
    """The mouth is closed in frame 6 alone, and the renderer shows the mean of a window: open mouths of
    undrawn neighbours must show in frame 6 as they do where all frames are drawn.
    """
    jaw = np.full(13, 0.14)
    jaw[6] = 0.0
    clip = write_movie(tmp_path / "one_closed.mkv", portrait_pictures(13, motion=still_head(jaw)))
    actor = write_flat_actor(tmp_path / "mean.actor", cached_track(clip)[0], write_mean_renderer)
    wav, together, alone = write_wav(tmp_path / "new.wav", 0.5), tmp_path / "all.mkv", tmp_path / "alone.mkv"
    common, matte = ("dub", clip, "--dialogue", wav, "--actor", actor), tmp_path / "matte.mkv"
    vdub(*common, "--performance", tmp_path / "all.json", "-o", together)
    values = json.loads((tmp_path / "all.json").read_text())
    assert {row["draw"] for row in values["curves"]} == {1.0}
    for row in values["curves"]:
        row["draw"] = float(row["frame"] == 6)
    (tmp_path / "alone.json").write_text(json.dumps(values))
    vdub(*common, "--use-performance", tmp_path / "alone.json", "-o", alone, "--matte", matte)
    assert [i for i, m in enumerate(luma(matte)) if m.any()] == [6]
    inside = luma(matte)[6] == 255
    source, one, two = (luma(movie)[6][inside] for movie in (clip, alone, together))
    assert np.abs(one - two).mean() < 3  # 1.4 measured; colour is matched over the drawn frames
    assert np.abs(one - source).mean() > 10  # 23 measured


@pytest.mark.slow
def test_background_inside_the_mask_keeps_its_pixels(tmp_path: Path) -> None:
    """A face cut out so narrowly that the mask reaches over grey background on both sides of the chin.

    Only the left side is looked at: in the right one the segmentation believes to see a shoulder.
    """
    pictures = portrait_pictures(4)
    landmarks = cached_track(write_movie(tmp_path / "whole.mkv", pictures))[0].landmarks[:, :468, :2]
    grey = np.full(pictures[0].shape, 128, np.uint8)
    face = []
    for points in landmarks:
        centre = points.mean(0)
        hull = cv2.convexHull((centre + (points - centre) * (0.75, 1.0)).astype(np.int32))
        face.append(cv2.fillConvexPoly(np.zeros(grey.shape[:2], np.uint8), hull, 1).astype(bool))
    narrow = [np.where(f[..., None], p, grey) for f, p in zip(face, pictures, strict=True)]
    clip = write_movie(tmp_path / "narrow.mkv", narrow)
    actor = write_flat_actor(tmp_path / "mean.actor", cached_track(clip)[0], write_mean_renderer)
    out = ("-o", tmp_path / "out.mkv", "--matte", tmp_path / "matte.mkv")
    vdub("reenact", clip, "--actor", actor, "--frames", "0:4", *out)
    chin = int(landmarks[0, 152, 0])
    for matte, inside in zip(luma(tmp_path / "matte.mkv")[:, :, :chin], face, strict=True):
        drawn = matte >= 128
        assert (drawn & inside[:, :chin]).sum() > 1000
        assert (drawn & ~inside[:, :chin]).sum() < 100  # about 500 without the segmentation


@pytest.mark.slow
def test_pixels_cross_fade_beside_frames_that_pass_through(tmp_path: Path) -> None:
    """The mouth moves in the first 20 of 80 frames; where it rests and nobody speaks, nothing is drawn."""
    motion = portrait_motion(80)
    still = replace(motion, jaw=np.where(np.arange(80) < 20, motion.jaw, 0.0), turn=np.zeros((80, 3)))
    clip = write_movie(tmp_path / "rests.mkv", portrait_pictures(80, motion=still))
    actor = write_flat_actor(tmp_path / "flat.actor", cached_track(clip)[0])
    wav = write_wav(tmp_path / "new.wav", 1.0)
    out, matte, take = tmp_path / "out.mkv", tmp_path / "matte.mkv", tmp_path / "take.json"
    vdub("dub", clip, "--dialogue", wav, "--actor", actor, "-o", out, "--matte", matte, "--performance", take)
    draw = np.array([row["draw"] for row in json.loads(take.read_text())["curves"]])
    first = int(np.flatnonzero(draw > 0)[-1])  # the last drawn frame
    assert first < 78 and draw[first - 3 : first + 2].tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    np.testing.assert_allclose(luma(matte).max((1, 2)), 255 * draw, atol=2)
    changed = np.abs(luma(out) - luma(clip)).sum((1, 2))
    assert 0 == changed[first + 1] < changed[first] < 0.5 * changed[first - 3]


# ---- record ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_recorded_box_holds_the_watermark_of_every_frame(tmp_path: Path) -> None:
    """A head that moves, so that no single frame's box will do."""
    shift = np.column_stack([np.linspace(-20, 20, 20), np.linspace(12, -12, 20)])
    pictures = portrait_pictures(20, height=600, motion=replace(portrait_motion(20), shift=shift))
    clip = write_movie(tmp_path / "moving.mkv", pictures)
    actor = write_flat_actor(tmp_path / "flat.actor", cached_track(clip)[0])
    out, matte = tmp_path / "out.mkv", tmp_path / "matte.mkv"
    vdub("reenact", clip, "--actor", actor, "--frames", "0:20", "-o", out, "--matte", matte)
    touched = luma(matte).any(0)
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    mark = read_provenance(out).watermark
    assert mark.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert mark.payload is not None
    reader = WatermarkReader()
    for picture in luma(out):
        reader.add(picture, box=mark.box)
    certain = reader.certainty > 4
    assert certain.sum() >= 28
    assert (reader.bits == payload_from_text(mark.payload))[certain].all()


# ---- the performance ---------------------------------------------------------------------------------------


def test_the_mouths_gain_and_the_actors_adapter_reach_the_performance(
    talking: Path, flat_actor: Path
) -> None:
    """The demo's English counting starts with speech."""
    cue = DialogueCue(ENGLISH, in_point_s=Fraction(1, 2))
    tracked, actor = track_shot(plan_shot(talking, cues=(cue,))), load_actor(flat_actor)
    audio = shot_audio(tracked.shot)
    plain, _ = dialogue_performance(tracked, audio, actor)
    wide, notes = dialogue_performance(tracked, audio, actor, PerformanceAdjustments(gain=2.0))
    assert wide.jaw.std() > 1.5 * plain.jaw.std() and notes == ["mouth: gain 2"]
    rows, columns = last_layer(MODEL).shape
    adapter = np.zeros((rows, columns))
    adapter[-1, 0] = 2.0  # two standard deviations of the jaw, in every frame of speech
    style = replace(actor.style, adapter=tuple(map(tuple, adapter.tolist())), speech_model=model_hash(MODEL))
    own, _ = dialogue_performance(tracked, audio, replace(actor, style=style))
    assert (own.jaw - plain.jaw).max() > actor.style.scale[0]
    other = replace(style, speech_model="of another version")
    generic, notes = dialogue_performance(tracked, audio, replace(actor, style=other))
    assert np.array_equal(generic.jaw, plain.jaw) and "adapt again" in notes[0]
