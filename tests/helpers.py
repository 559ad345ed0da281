"""What tests make for themselves: an actor whose renderer is a few ONNX nodes, and movies of a speaking
portrait.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from visualdub.actor import ActorRecord, Consent, SourceFrames, actor_folder, write_package
from visualdub.demo.portrait import Motion, Portrait
from visualdub.demo.run import portrait_picture
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.face.track import Track
from visualdub.media.movie_writer import AudioSource, MovieWriter, picture_info, rgb_frame
from visualdub.media.source import open_source
from visualdub.media.square import square_scale
from visualdub.media.yuv import frame_rgb
from visualdub.speech.style import SpeechStyle
from visualdub.timing import FrameRange

WINDOW, SIZE = 5, 256
HEIGHT = 376  # pixels of the speaking portrait
Pictures = list[NDArray[np.uint8]]
DRAWN: Pictures = []  # of the speaking portrait, from its first on


def write_flat_renderer(path: Path) -> None:
    """A renderer that paints skin inside the mask, darker toward the right of the texture, and keeps the
    frame outside.
    """
    nodes = [
        helper.make_node("Unsqueeze", ["mask", "two"], ["m"]),  # (N, T, 1, S, S)
        helper.make_node("Sub", ["one", "m"], ["outside"]),
        helper.make_node("Mul", ["frame", "outside"], ["kept"]),
        helper.make_node("Slice", ["uv", "zero1", "one1", "four1"], ["u"]),  # (N, T, S, S, 1)
        helper.make_node("Transpose", ["u"], ["ut"], perm=[0, 1, 4, 2, 3]),
        helper.make_node("Mul", ["ut", "slope"], ["shade"]),
        helper.make_node("Sub", ["skin", "shade"], ["colour"]),
        helper.make_node("Mul", ["colour", "m"], ["drawn"]),
        helper.make_node("Add", ["kept", "drawn"], ["rgb"]),
    ]
    constants = {
        "two": np.array([2], np.int64),
        "one": np.array(1, np.float32),
        "zero1": np.array([0], np.int64),
        "one1": np.array([1], np.int64),
        "four1": np.array([4], np.int64),
        "slope": np.array(0.1, np.float32),
        "skin": np.array([0.7, 0.5, 0.4], np.float32).reshape(1, 1, 3, 1, 1),
    }
    save_renderer(path, "flat", nodes, constants)


def write_mean_renderer(path: Path) -> None:
    """A renderer that gives every frame of a window the mean of the window's pictures, so that a still clip
    is drawn as it is and the neighbours of a frame show in it.
    """
    nodes = [
        helper.make_node("ReduceMean", ["frame"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["frame", "zero"], ["blank"]),
        helper.make_node("Add", ["mean", "blank"], ["rgb"]),
    ]
    save_renderer(path, "mean", nodes, {"zero": np.array(0, np.float32)})


def write_reference_renderer(path: Path) -> None:
    """A renderer that shows the aligned references of every frame."""
    nodes = [
        helper.make_node("Slice", ["aligned", "zero1", "three1", "two1"], ["rgb_of"]),
        helper.make_node("Mul", ["frame", "zero"], ["blank"]),
        helper.make_node("Add", ["rgb_of", "blank"], ["rgb"]),
    ]
    constants = {
        "zero": np.array(0, np.float32),
        "zero1": np.array([0], np.int64),
        "three1": np.array([3], np.int64),
        "two1": np.array([2], np.int64),
    }
    save_renderer(path, "references", nodes, constants, aligned=True)


def save_renderer(
    path: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[np.generic]],
    aligned: bool = False,
) -> None:
    """Write a graph from `frame`, `uv`, `mask` and perhaps `aligned` to `rgb` as the `renderer.onnx` of an
    actor package.
    """
    inputs = {
        "frame": ["N", WINDOW, 3, SIZE, SIZE],
        "uv": ["N", WINDOW, SIZE, SIZE, 2],
        "mask": ["N", WINDOW, SIZE, SIZE],
    }
    if aligned:
        inputs["aligned"] = ["N", WINDOW, 4, SIZE, SIZE]
    shapes = {**inputs, "rgb": inputs["frame"]}
    values = {k: helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()}
    graph = helper.make_graph(
        nodes,
        name,
        [values[k] for k in inputs],
        [values["rgb"]],
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"schema": "1", "window": str(WINDOW), "size": str(SIZE), "width": "0.25"})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_flat_actor(
    path: Path,
    track: Track,
    write_renderer: Callable[[Path], None] = write_flat_renderer,
    references: NDArray[np.uint8] | None = None,
) -> Path:
    """An actor package of the person in `track`, in the track's own face model, whose renderer paints flat
    skin: fast, and visible where it drew. `write_renderer` writes another one. references: crops (R, 256,
    256, 3) that the actor is recognised by; by default grey ones, which leaves the shape of the face.
    """
    model = track.model
    record = ActorRecord(
        name=path.name.removesuffix(".actor"),
        consent=Consent("the test suite", "2026-01-01", "tests"),
        frames=(SourceFrames(track.source, track.source_hash, 0, 5),),
        steps=0,
        size="small",
        width=0.25,
        window=WINDOW,
        face_model=model.name,
    )
    style = SpeechStyle((0.05, *[0.0] * model.n_speech), (0.04, *[0.5] * model.n_speech), 0.0, model.name)
    with actor_folder(path) as folder:
        write_package(
            folder,
            record,
            track.identity,
            0.0,
            np.zeros(model.n_expression),
            np.full((1, SIZE, SIZE, 3), 128, np.uint8) if references is None else references,
            style,
        )
        write_renderer(folder / "renderer.onnx")
        for name in ("texture.safetensors", "renderer.safetensors"):
            (folder / name).write_bytes(b"a flat renderer has no weights")
    return path


def portrait_motion(frame_count: int) -> Motion:
    """A mouth that opens and closes twice a second at 25 frames/s, a head that turns a little."""
    t = np.arange(frame_count) / 25
    jaw = 0.06 * (1 - np.cos(2 * np.pi * 2 * t))
    turn = np.stack([0.01 * np.sin(t), 0.04 * np.sin(2 * t), np.zeros_like(t)], 1)
    return Motion(
        jaw,
        np.zeros((frame_count, face_model(DEFAULT_FACE_MODEL).n_expression)),
        turn,
        np.zeros((frame_count, 2)),
    )


def portrait_pictures(
    frame_count: int, height: int = HEIGHT, motion: Motion | None = None
) -> list[NDArray[np.uint8]]:
    """Pictures of the speaking portrait, 320 x 376 by default; every width and height is even.

    motion: of `frame_count` frames, in place of `portrait_motion`. Pictures of the default size and motion
    are drawn once in a process.
    """
    if motion is not None or height != HEIGHT:
        return _drawn(height, motion or portrait_motion(frame_count))
    if len(DRAWN) < frame_count:
        whole, first = portrait_motion(frame_count), len(DRAWN)
        rest = Motion(*(values[first:] for values in (whole.jaw, whole.expression, whole.turn, whole.shift)))
        DRAWN.extend(_drawn(height, rest))
    return [picture.copy() for picture in DRAWN[:frame_count]]


def _drawn(height: int, motion: Motion) -> Pictures:
    rgb = portrait_picture()
    width = round(rgb.shape[1] * height / rgb.shape[0] / 2) * 2
    small = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return list(Portrait(small, "portrait").frames(motion))


def write_movie(
    path: Path, pictures: list[NDArray[np.uint8]], rate: Fraction = Fraction(25), audio: Path | None = None
) -> Path:
    """Pictures (H, W, 3) as a movie, H.264 or FFV1 by the suffix."""
    info = picture_info(path, pictures[0].shape[1], pictures[0].shape[0], rate, len(pictures))
    with MovieWriter(path, info, None, AudioSource(audio) if audio else None) as writer:
        for i, picture in enumerate(pictures):
            writer.write(rgb_frame(picture, info.image, i))
    return path


def planes_of(path: Path | str, frames: FrameRange | None = None) -> list[list[NDArray[Any]]]:
    """The samples of every frame of a movie, plane by plane."""
    with open_source(Path(path)) as source:
        return [[np.array(plane) for plane in frame.planes] for frame in source.frames(frames)]


def lumas_of(path: Path | str) -> list[NDArray[Any]]:
    """The first plane of every frame of a movie."""
    return [planes[0] for planes in planes_of(path)]


def rgb_of(path: Path, frames: FrameRange | None = None) -> Pictures:
    """Every frame of a movie as R'G'B', (H, W, 3)."""
    with open_source(path) as source:
        return [frame_rgb(frame) for frame in source.frames(frames)]


def squeezed(pictures: Pictures, aspect: Fraction) -> Pictures:
    """Pictures with square pixels resampled to pixels of `aspect`, of even size."""
    across, down = square_scale(aspect)
    h, w = pictures[0].shape[:2]
    size = round(w / across / 2) * 2, round(h / down / 2) * 2
    return [np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.uint8) for p in pictures]


def write_squeezed(path: Path, pictures: Pictures, aspect: Fraction) -> Path:
    """A lossless clip of pictures with square pixels, stored with pixels of `aspect`."""
    stored = squeezed(pictures, aspect)
    height, width = stored[0].shape[:2]
    info = picture_info(path, width, height, Fraction(25), len(stored))
    # to the number: even sizes change the aspect a little
    exact = Fraction(pictures[0].shape[1] * height, pictures[0].shape[0] * width).limit_denominator(1000)
    info = replace(info, image=replace(info.image, sample_aspect=exact))
    with MovieWriter(path, info) as writer:
        for i, picture in enumerate(stored):
            writer.write(rgb_frame(picture, info.image, i))
    return path


def write_wav(path: Path, seconds: float, rate: int = 16000) -> Path:
    """A mono recording that hums for three quarters of its length and then is silent."""
    t = np.arange(int(seconds * rate)) / rate
    hum = 0.4 * np.sin(2 * np.pi * 150 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t)) * (t < 0.75 * seconds)
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes((hum * 32767).astype("<i2").tobytes())
    return path
