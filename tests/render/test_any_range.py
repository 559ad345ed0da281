"""Any range of a shot, on demand, is bit for bit what the whole run gives there."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import WINDOW
from numpy.typing import NDArray
from onnx import helper

from visualdub.actor.detail import write_detail
from visualdub.actor.footage import DetailClip, detail_of
from visualdub.actor.package import RENDERER, Actor, load_actor, seal
from visualdub.dub import TrackedShot, track_shot
from visualdub.edit import plan_shot
from visualdub.errors import BadInput, InternalError, Interrupted
from visualdub.face.track import Performance
from visualdub.render.recent import Recent
from visualdub.render.shot_renderer import FrameInputs, RenderedFrame, RenderOptions, ShotRenderer
from visualdub.stages import Progress
from visualdub.timing import FrameRange

UNMARKED = RenderOptions(watermark=False)


def mixing_actor(flat: Path, folder: Path) -> Actor:
    """The flat actor with a network whose every frame shows the mean of its whole window."""
    path = Path(shutil.copytree(flat, folder / "mixing.actor"))
    size = 256
    inputs = {"frame": (WINDOW, 3, size, size), "uv": (WINDOW, size, size, 2), "mask": (WINDOW, size, size)}
    values = [
        helper.make_tensor_value_info(k, onnx.TensorProto.FLOAT, ["N", *shape]) for k, shape in inputs.items()
    ]
    out = helper.make_tensor_value_info("rgb", onnx.TensorProto.FLOAT, ["N", *inputs["frame"]])
    nodes = [
        helper.make_node("ReduceMean", ["frame"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Add", ["frame", "mean"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["mixed"]),
        helper.make_node("ReduceMean", ["uv"], ["uv_mean"], axes=[1, 2, 3, 4], keepdims=1),
        helper.make_node("ReduceMean", ["mask"], ["mask_mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Unsqueeze", ["mask_mean", "last"], ["mask_mean5"]),
        helper.make_node("Mul", ["uv_mean", "nothing"], ["uv_nothing"]),
        helper.make_node("Mul", ["mask_mean5", "nothing"], ["mask_nothing"]),
        helper.make_node("Add", ["mixed", "uv_nothing"], ["with_uv"]),
        helper.make_node("Add", ["with_uv", "mask_nothing"], ["rgb"]),
    ]
    numbers = {"half": np.float32(0.5), "nothing": np.float32(0.02), "last": np.array([4])}
    constants = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in numbers.items()]
    graph = helper.make_graph(nodes, "mixing", values, [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"schema": "1", "window": str(WINDOW), "size": "256", "width": "0.25"})
    onnx.checker.check_model(model)
    onnx.save(model, str(path / RENDERER))
    seal(path)
    return load_actor(path)


@pytest.fixture(scope="module")
def scene(
    talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrackedShot, Performance, Actor]:
    """Frames 2:38 of the talking portrait with a gap, a fade and a lost face in its performance."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISUALDUB_CACHE", str(tmp_path_factory.mktemp("cache")))
        tracked = track_shot(plan_shot(talking, FrameRange(2, 38)))
    confidence = tracked.track.confidence.copy()
    confidence[20] = 0
    tracked = replace(tracked, track=replace(tracked.track, confidence=confidence))
    performance = Performance.of_track(tracked.track)
    draw = performance.draw.copy()
    draw[:9] = 0
    draw[9:13] = [0.2, 0.4, 0.6, 0.8]
    performance = replace(performance, jaw=performance.jaw[::-1].copy(), draw=draw)
    return tracked, performance, mixing_actor(flat_actor, tmp_path_factory.mktemp("mixing"))


def renderer_of(
    scene: tuple[TrackedShot, Performance, Actor], options: RenderOptions | None = None
) -> ShotRenderer:
    tracked, performance, actor = scene
    return ShotRenderer(tracked.shot, actor, track=tracked.track, performance=performance, options=options)


def same(a: RenderedFrame, b: RenderedFrame) -> bool:
    planes = all(np.array_equal(p, q) for p, q in zip(a.frame.planes, b.frame.planes, strict=True))
    return planes and np.array_equal(a.matte, b.matte) and a.frame.index == b.frame.index


@pytest.mark.slow
def test_every_range_is_the_whole_runs(scene: tuple[TrackedShot, Performance, Actor]) -> None:
    renderer = renderer_of(scene)
    whole = {f.frame.index: f for f in renderer.frames()}
    assert list(whole) == list(range(2, 38)) and sum(f.raw is not None for f in whole.values()) == 26
    rng = np.random.default_rng(1)
    ranges = [FrameRange(2, 3), FrameRange(37, 38), FrameRange(10, 11), FrameRange(22, 23)]
    for start in rng.integers(2, 34, 12):
        ranges.append(FrameRange(int(start), int(rng.integers(start + 1, 39))))
    for wanted in ranges:
        part = list(renderer.frames(wanted))
        assert [f.frame.index for f in part] == list(wanted)
        assert all(same(f, whole[f.frame.index]) for f in part), wanted


@pytest.mark.slow
def test_fine_detail_does_not_depend_on_the_range(
    scene: tuple[TrackedShot, Performance, Actor], tmp_path: Path
) -> None:
    tracked, performance, actor = scene
    frames = detail_of([DetailClip(tracked.shot.source, tracked.track)])
    assert frames is not None and len(frames) == 35  # all but the one without a face
    folder = Path(shutil.copytree(actor.folder, tmp_path / "detailed.actor"))
    write_detail(folder, replace(frames, source_hash=("another clip",) * len(frames)))
    seal(folder)
    detailed = load_actor(folder)
    renderer = renderer_of((tracked, performance, detailed), UNMARKED)
    whole = {f.frame.index: f for f in renderer.frames()}
    for wanted in (FrameRange(14, 15), FrameRange(30, 38)):
        again = renderer_of((tracked, performance, load_actor(folder)), UNMARKED)
        assert all(same(f, whole[f.frame.index]) for f in again.frames(wanted)), wanted
    kept = renderer_of((tracked, performance, load_actor(folder)), UNMARKED)
    kept.recent = Recent[FrameInputs]()
    for number in (14, 16, 15):  # each a neighbour of the one before, whose detail nobody saw yet
        (one,) = kept.frames(FrameRange(number, number + 1))
        assert same(one, whole[number]), number
    without = renderer_of((tracked, performance, actor), UNMARKED)
    turned_off = renderer_of((tracked, performance, detailed), replace(UNMARKED, detail=False))
    (plain,), (off,) = without.frames(FrameRange(30, 31)), turned_off.frames(FrameRange(30, 31))
    assert same(plain, off) and not same(plain, whole[30])
    keys = {r.key(30).options for r in (renderer, without, turned_off)}
    assert len(keys) == 3


def test_source_frames_are_whole_windows_around_the_compositors_reach(
    scene: tuple[TrackedShot, Performance, Actor],
) -> None:
    renderer = renderer_of(
        scene
    )  # windows of 5 start at frames 2, 6, 10, ...; the compositor looks 2 frames away
    assert renderer.source_frames(FrameRange(13, 15)) == FrameRange(10, 19)
    assert renderer.source_frames(FrameRange(12, 15)) == FrameRange(6, 19)
    assert renderer.source_frames(FrameRange(2, 3)) == FrameRange(2, 7)
    assert renderer.source_frames(FrameRange(37, 38)) == FrameRange(34, 38)


@pytest.mark.slow
def test_what_lies_between_two_cuts_is_drawn_as_if_it_were_alone(
    scene: tuple[TrackedShot, Performance, Actor],
) -> None:
    """Windows, crop, colour and grain know nothing of the other shots, and any range is the whole run's."""
    tracked, performance, actor = scene
    tracked = replace(tracked, track=replace(tracked.track, cuts=(15, 26)))
    renderer = renderer_of((tracked, performance, actor), UNMARKED)
    whole = {f.frame.index: f for f in renderer.frames()}
    assert list(whole) == list(range(2, 38))
    for part in (FrameRange(2, 15), FrameRange(15, 26), FrameRange(26, 38)):
        rows = slice(part.start - 2, part.end_exclusive - 2)
        acted = Performance(performance.jaw[rows], performance.expression[rows], performance.draw[rows])
        alone = renderer_of((tracked.trim(part), acted, actor), UNMARKED)
        assert all(same(f, whole[f.frame.index]) for f in alone.frames())
    uncut = renderer_of(
        (replace(tracked, track=replace(tracked.track, cuts=())), performance, actor), UNMARKED
    )
    assert not same(next(uncut.frames(FrameRange(26, 27))), whole[26])
    for wanted in (FrameRange(14, 16), FrameRange(26, 27), FrameRange(13, 29), FrameRange(37, 38)):
        drawn = list(renderer.frames(wanted))
        assert [f.frame.index for f in drawn] == list(wanted)
        assert all(same(f, whole[f.frame.index]) for f in drawn), wanted
    assert renderer.source_frames(FrameRange(14, 16)) == FrameRange(10, 20)
    assert renderer.key(5) != uncut.key(5)


def test_keys_tell_jobs_and_frames_apart(scene: tuple[TrackedShot, Performance, Actor]) -> None:
    tracked, performance, actor = scene
    key = renderer_of(scene).key(5)
    assert key == renderer_of(scene).key(5) and key.number == 5 and key != renderer_of(scene).key(6)
    louder = replace(performance, jaw=performance.jaw * 1.1)
    fainter = replace(performance, draw=performance.draw * 0.5)
    assert renderer_of((tracked, fainter, actor)).key(5).performance != key.performance
    others = [
        renderer_of((tracked, louder, actor)).key(5),
        renderer_of(scene, RenderOptions(watermark=False)).key(5),
    ]
    part = tracked.trim(FrameRange(2, 30))
    shorter = Performance(performance.jaw[:28], performance.expression[:28], performance.draw[:28])
    others.append(renderer_of((part, shorter, actor)).key(5))
    assert len({key, *others}) == 4
    assert [o.performance != key.performance for o in others] == [True, False, True]
    assert [o.options != key.options for o in others] == [False, True, False]
    assert [o.shot != key.shot for o in others] == [False, False, True]


def test_the_watermark_differs_with_the_performance(scene: tuple[TrackedShot, Performance, Actor]) -> None:
    tracked, performance, actor = scene
    louder = replace(performance, jaw=performance.jaw * 1.1)
    marks = [renderer_of(scene).watermark, renderer_of((tracked, louder, actor)).watermark]
    bits: list[NDArray[np.uint8]] = [m.bits for m in marks if m is not None]
    assert len(bits) == 2 and not np.array_equal(*bits)
    assert renderer_of(scene, RenderOptions(watermark=False)).watermark is None


def test_cancelled_from_another_thread(scene: tuple[TrackedShot, Performance, Actor]) -> None:
    progress, threads = Progress(), threading.active_count()
    frames = renderer_of(scene).frames(progress=progress)
    next(frames)
    canceller = threading.Thread(target=progress.cancel)
    canceller.start()
    canceller.join()
    with pytest.raises(Interrupted):
        list(frames)
    assert threading.active_count() == threads


def test_frames_outside_the_shot_and_other_tracks_are_refused(
    scene: tuple[TrackedShot, Performance, Actor],
) -> None:
    tracked, performance, actor = scene
    with pytest.raises(BadInput, match="frames 0:5 were asked for; the shot is 2:38"):
        list(renderer_of(scene).frames(FrameRange(0, 5)))
    with pytest.raises(InternalError, match="expected the same frames"):
        ShotRenderer(plan_shot(tracked.shot.source), actor, track=tracked.track, performance=performance)


def test_the_filmed_silhouette_is_the_tracks_and_not_the_commanded_one(
    scene: tuple[TrackedShot, Performance, Actor],
) -> None:
    tracked, performance, actor = scene
    wide = replace(performance, jaw=performance.jaw + 0.2)
    filmed = Performance.of_track(tracked.track)
    commanded, own = (
        next(renderer_of((tracked, p, actor)).frames(FrameRange(24, 25))).inputs for p in (wide, filmed)
    )
    assert commanded.geometry is not None and own.geometry is not None
    assert np.array_equal(commanded.source_silhouette, own.geometry.silhouette)  # type: ignore[arg-type]
    assert not np.array_equal(commanded.geometry.silhouette, own.geometry.silhouette)
