"""The demo: a portrait that counts in English is tracked, adapted, dubbed in French, measured and shown."""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visualdub import __version__
from visualdub.demo.portrait import Motion, Portrait
from visualdub.errors import BadInput
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model
from visualdub.media.audio import read_audio
from visualdub.media.movie_writer import AudioSource, Codec, MovieWriter, picture_info, rgb_frame
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.speech.predict import model_record, predict_motion
from visualdub.storage import atomic_path, write_text
from visualdub.timing import FrameRange

# ---- what the portrait does --------------------------------------------------------------------------------

RECORDING_RATE = 16000  # Hz
EMPHASIS = 1.25  # times the motion of the speech model's generic style, so that a small picture shows it
TURN = np.radians([1.4, 2.6, 0.8])  # radians: largest pitch, yaw and roll of the head
SHIFT = np.array([2.2, 1.3])  # pixels: largest shift of the head in x and y
# Periods of two sines in seconds, each for pitch, yaw, roll, x and y.
PERIODS_S = ((3.1, 1.9), (4.3, 2.3), (3.7, 1.3), (4.7, 2.9), (3.9, 1.7))


def counting_motion(recording: Path, rate: Fraction, frame_count: int) -> Motion:
    """The motion of a portrait that speaks `recording`, in `frame_count` frames at `rate` frames/s."""
    model, generic = face_model(DEFAULT_FACE_MODEL), model_record()["generic"]
    spoken = predict_motion(read_audio(recording, RECORDING_RATE), rate, frame_count)
    z = np.column_stack([spoken.jaw, spoken.expression])
    mouth = spoken.speech_activity[:, None] * (
        np.array(generic["offset_from_rest"]) + EMPHASIS * np.array(generic["scale"]) * z
    )
    expression = np.zeros((frame_count, model.n_expression))
    expression[:, : mouth.shape[1] - 1] = mouth[:, 1:]
    wander = np.stack([_wander(long, short, rate, frame_count) for long, short in PERIODS_S], 1)
    return Motion(mouth[:, 0], expression, wander[:, :3] * TURN, wander[:, 3:] * SHIFT)


def _wander(long_s: float, short_s: float, rate: Fraction, frame_count: int) -> NDArray[np.float64]:
    """(frame_count,) sum of two sines of the given periods in seconds: 0 in the first frame, at most 1."""
    t = np.arange(frame_count) / float(rate)
    return np.asarray(0.7 * np.sin(2 * np.pi * t / long_s) + 0.3 * np.sin(2 * np.pi * t / short_s))


# ---- the report --------------------------------------------------------------------------------------------

TEMPLATE = Path(__file__).parent / "data" / "report.html"
MEASURES = (  # key in the table of measures, description, best value
    ("reenactment.composite.psnr_crop", "PSNR of the 256 x 256 crop, dB", "higher"),
    ("reenactment.composite.psnr_mask", "PSNR inside the mask, dB", "higher"),
    ("reenactment.composite.ssim_crop", "SSIM of the crop", "1"),
    ("reenactment.mask_share", "mask's share of the crop", ""),
    ("reenactment.composite.sharpness", "sharpness of the mouth against the source", "1"),
    ("reenactment.composite.flicker", "flicker against the source", "1"),
    ("reenactment.composite.seam", "gradient along the mask's edge against the source", "1"),
    ("reenactment.mouth.lmd", "lip landmarks, mean distance, % of face width", "0"),
    ("driven.mouth.control", "control: correlation of commanded and measured opening", "1"),
    ("driven.mouth.leak", "leak: how far the source's mouth still shows", "0"),
    ("silence.mouth.open_share", "silence: share of frames with an open mouth", "0"),
)


def lookup(table: dict[str, Any], dotted: str) -> Any:
    """The value under a key such as `a.b.c`; None where a part of it is missing."""
    value: Any = table
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def shown(value: Any) -> str:
    """A number as text; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def write_page(path: Path, measures: dict[str, Any], dub: dict[str, Any], cores: int) -> None:
    """Write the report to `path`, beside the files that it shows."""
    rows = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{shown(lookup(measures, key))}</td><td>{good}</td></tr>"
        for key, name, good in MEASURES
    )
    stages = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{s['seconds']:.2f}</td><td>{s['fps']:.1f}</td></tr>"
        for name, s in dub["stages"].items()
    )
    values = {
        "rows": rows,
        "stages": stages,
        "cores": str(cores),
        "version": __version__,
        "steps": str(measures["steps"]),
        "frames": str(measures["frames"]),
        "drawn": str(dub["drawn"]),
        "count": str(dub["frames"]),
        "fps": f"{dub['frames_per_second']:.1f}",
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    write_text(path, text)


# ---- the demo ----------------------------------------------------------------------------------------------

DATA = Path(__file__).parent / "data"
ENGLISH, FRENCH = DATA / "counting_en.wav", DATA / "counting_fr.wav"
PORTRAIT = DATA / "portrait.jpg"  # Grace Hopper, US Navy, public domain: see portrait.json
RATE, FRAMES = Fraction(25), 125
ADAPTED, MEASURED = FrameRange(0, 100), FrameRange(100, 125)
LABEL = "synthetic - Visual Dub demo"
CONSENT = "a public domain picture of the US Navy, 1984, this demonstration only"
SHOWN = 8  # columns of the contact sheet

Say = Callable[[str], None]
Adapt = Callable[[Path, FrameRange, int, Path], None]  # clip, frames, steps, folder of the actor


@dataclass(frozen=True)
class DemoFiles:
    """The files of a demo in its folder."""

    folder: Path

    source = property(lambda self: self.folder / "source.mp4")
    actor = property(lambda self: self.folder / "portrait.actor")
    dub = property(lambda self: self.folder / "dub.mp4")
    beside = property(lambda self: self.folder / "side_by_side.mp4")
    sheet = property(lambda self: self.folder / "contact_sheet.jpg")
    picture = property(lambda self: self.folder / "demo.jpg")
    page = property(lambda self: self.folder / "report.html")
    mark = property(lambda self: self.folder / ".visualdub-demo")  # says that the others are a demo's

    def require_own(self) -> None:
        """Raise `BadInput` where a file that would be replaced is not an earlier demo's."""
        files = (self.source, self.actor, self.dub, self.beside, self.sheet, self.picture, self.page)
        there = [p for p in files if p.exists()]
        if there and not self.mark.is_file() and not self.page.is_file():
            raise BadInput(f"{there[0]} is there already and not of a demo; give another folder with -o")


def portrait_picture() -> NDArray[np.uint8]:
    """The demo's portrait, (H, W, 3) uint8 R'G'B'."""
    with Image.open(PORTRAIT) as picture:
        return np.asarray(picture.convert("RGB"))


def make_source(output: Path, recording: Path = ENGLISH, frame_count: int = FRAMES) -> None:
    """Write the movie of the portrait speaking `recording`, labelled as synthetic."""
    rgb = portrait_picture()
    portrait = Portrait(rgb, PORTRAIT.name)
    motion = counting_motion(recording, RATE, frame_count)
    info = picture_info(output, rgb.shape[1], rgb.shape[0], RATE, frame_count)
    with MovieWriter(output, info, Codec("h264", crf=12), AudioSource(recording)) as writer:
        for i, picture in enumerate(portrait.frames(motion)):
            writer.write(rgb_frame(label(picture), info.image, i))


def label(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of a picture (H, W, 3) with `LABEL` in its lower left corner."""
    out = picture.copy()
    corner = (8, picture.shape[0] - 10)
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(out, LABEL, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, width, cv2.LINE_AA)
    return out


def run_demo(folder: Path, steps: int, adapt: Adapt, say: Say) -> dict[str, Any]:
    """Run the demo in `folder`, replacing the files of an earlier one. Returns its measures and report."""
    from visualdub.actor.package import load_actor
    from visualdub.dub import Output, dub_shot, track_shot
    from visualdub.edit import plan_shot
    from visualdub.measure.evaluate import evaluate

    files = DemoFiles(folder)
    files.require_own()
    folder.mkdir(parents=True, exist_ok=True)
    write_text(
        files.mark, "vdub demo writes its files into this folder and replaces those of an earlier one\n"
    )
    say("1/5 a portrait counts to five in English (synthetic)")
    make_source(files.source)
    say("2/5 tracking")
    shot = track_shot(plan_shot(files.source))
    say(f"3/5 adapting to frames {ADAPTED}, {steps} steps, a minute or two on two cores")
    adapt(files.source, ADAPTED, steps, files.actor)
    actor = load_actor(files.actor)
    say("4/5 dubbing in French")
    report = dub_shot(shot, FRENCH, actor, Output(files.dub))
    say("5/5 measuring")
    measures = evaluate(shot, MEASURED, actor)
    write_beside(files.source, files.dub, files.beside)
    columns = list(pairs(files.source, files.dub, np.linspace(6, FRAMES - 14, SHOWN).astype(int)))
    save_sheet(columns, files.sheet)
    save_sheet(columns[1:6], files.picture)
    write_page(files.page, measures, report.as_dict(), os.cpu_count() or 1)
    return {"measures": measures, "dub": report.as_dict()}


# ---- what is shown -----------------------------------------------------------------------------------------


def write_beside(source: Path, dub: Path, output: Path) -> None:
    """Write the two movies side by side, with the sound of the dub."""
    with open_source(source) as left, open_source(dub) as right:
        clip, image = left.info, left.info.image
        info = picture_info(output, 2 * image.width, image.height, clip.rate, clip.frame_count)
        with MovieWriter(output, info, Codec("h264"), AudioSource(dub)) as writer:
            for i, (a, b) in enumerate(zip(left.frames(), right.frames(), strict=True)):
                rgb = np.concatenate([frame_rgb(a), frame_rgb(b)], 1)
                writer.write(rgb_frame(rgb, info.image, i))


def pairs(
    source: Path, dub: Path, numbers: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Close-ups of the face in source and dub, at the frames `numbers` (k,)."""
    wanted = set(numbers.tolist())
    with open_source(source) as left, open_source(dub) as right:
        for a, b in zip(left.frames(), right.frames(), strict=True):
            if a.index in wanted:
                yield close_up(frame_rgb(a)), close_up(frame_rgb(b))


def close_up(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part of a picture (H, W, 3) of the portrait that shows the face."""
    return rgb[130:380, 150:390]


def save_sheet(columns: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], path: Path) -> None:
    """Write one column per frame, source above dub, labelled as synthetic."""
    sheet = np.concatenate([np.concatenate(pair, 0) for pair in columns], 1)
    with atomic_path(path) as temporary:
        Image.fromarray(label(sheet)).save(temporary, format="JPEG", quality=88)
