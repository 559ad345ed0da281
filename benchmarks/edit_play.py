"""Another program, melt, plays an edit and its dub, and the two renders are compared frame by frame.

    python -m benchmarks.edit_play ORIGINAL DUBBED OUT [--json FILE]

ORIGINAL: an edit (.otio). DUBBED: what `vdub dub` made of it, with its report beside it. OUT: a folder to
work in. Needs the program melt and the package otio-mlt-adapter. Outside the pixels that a dub changed, both
renders must be equal; where only one shot is seen, the dubbed render must be the dubbed movie's own frame.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import opentimelineio as otio
from numpy.typing import NDArray

from visualdub.edit.layout import Edit, EditClip, source_frames
from visualdub.edit.media import path_of
from visualdub.edit.reading import read_edit
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.source import open_source
from visualdub.timing import FrameRange

MOST_SECONDS = 300  # that melt may take
SPREAD = 3  # pixels around a changed one that its chroma reaches when melt resamples it
Planes = tuple[NDArray[np.generic], ...]  # of a frame, in the source's codes
Mask = NDArray[np.bool_]  # (H, W)


# ---- what melt is given ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """What melt renders: a size in pixels, and the matrix of luma and chroma that it takes for granted."""

    width: int
    height: int
    colorspace: int  # 601 or 709

    @classmethod
    def of(cls, movie: Path) -> Picture:
        """That of a movie, so that melt neither scales nor converts it."""
        with open_source(movie) as source:
            image = source.info.image
        return cls(image.width, image.height, 709 if image.colour.matrix == 1 else 601)


def melt_xml(edit: Path, picture: Picture) -> str:
    """The edit as otio-mlt-adapter writes it for melt, with what the adapter gets wrong put right before.

    It takes a clip's times for frames of the file from 0 at the edit's rate, whatever its media say; it
    writes the source's own start for a retimed clip, where melt counts frames of the retimed one; and it
    calls producers by the name of their reference, which must be unique.
    """
    timeline = otio.adapters.read_from_file(str(edit))
    rate = read_edit(edit).rate
    for track in [t for t in timeline.tracks if t.kind == otio.schema.TrackKind.Audio]:
        timeline.tracks.remove(track)
    for number, track in enumerate(timeline.tracks.find_children(descended_from_type=otio.schema.Track)):
        track.name = f"track{number}"
        at = Fraction(0)
        for child in track:
            if isinstance(child, otio.schema.Transition):
                continue
            times = child.trimmed_range()
            length = Fraction(times.duration.value) / Fraction(times.duration.rate) * rate
            child.source_range = _range(0, round(at + length) - round(at), rate)
            if isinstance(child, otio.schema.Clip):
                _prepare(child, times, edit.parent, rate)
            at += length
    timeline.global_start_time = None
    profile = {"width": picture.width, "height": picture.height, "colorspace": picture.colorspace}
    profile |= {"progressive": 1, "display_aspect_num": picture.width, "display_aspect_den": picture.height}
    profile |= {"frame_rate_num": rate.numerator, "frame_rate_den": rate.denominator}
    profile |= {"sample_aspect_num": 1, "sample_aspect_den": 1}
    text = otio.adapters.write_to_string(timeline, "mlt_xml", **{k: str(v) for k, v in profile.items()})
    return _inner_first(text)


def _range(start: float, length: float, rate: Fraction) -> Any:
    time = otio.opentime.RationalTime
    return otio.opentime.TimeRange(time(start, float(rate)), time(length, float(rate)))


def _prepare(clip: Any, times: Any, folder: Path, rate: Fraction) -> None:
    """Give a clip the times that melt reckons with; without media that are there, it becomes black."""
    media, length = clip.media_reference, clip.source_range.duration.value
    path = path_of(media.target_url, folder) if isinstance(media, otio.schema.ExternalReference) else None
    if path is None or not path.is_file() or not clip.enabled:
        clip.media_reference = otio.schema.ExternalReference("color:black")
        clip.media_reference.name = f"black{id(clip)}"
        del clip.effects[:]
        return
    begins = times.start_time
    if media.available_range is not None:
        begins = begins - media.available_range.start_time
    start = Fraction(begins.value) / Fraction(begins.rate) * rate
    warps = [e for e in clip.effects if isinstance(e, otio.schema.LinearTimeWarp)]
    speed = Fraction(warps[0].time_scalar).limit_denominator(1000) if warps else Fraction(1)
    if speed == 0:
        clip.effects[:] = [otio.schema.FreezeFrame()]
    elif speed > 0:
        start /= speed
    else:
        with open_source(path) as source:
            whole = source.info.frame_count / source.info.rate * rate
        start = (whole - 1 - start) / -speed - (length - 1)
    clip.source_range = _range(round(start), length, rate)
    clip.media_reference = otio.schema.ExternalReference(str(path))
    clip.media_reference.name = str(path)


def _inner_first(text: str) -> str:
    """The playlists of nested tracks before those that name them, as melt reads them."""
    root = ElementTree.fromstring(text)
    playlists = {p.attrib["id"]: p for p in root.findall("playlist")}
    ordered: dict[str, ElementTree.Element] = {}

    def place(name: str) -> None:
        for entry in playlists[name].findall("entry"):
            inner = entry.attrib["producer"]
            if inner in playlists and inner not in ordered:
                place(inner)
        ordered[name] = playlists[name]

    for name, playlist in playlists.items():
        place(name)
        root.remove(playlist)
    for playlist in ordered.values():
        root.insert(len(root) - 1, playlist)
    return ElementTree.tostring(root, encoding="unicode")


def play(edit: Path, out: Path, picture: Picture) -> Path:
    """melt's render of an edit as `out`, without loss and without sound. Raises `RuntimeError` where melt
    fails.
    """
    project = out.with_suffix(".mlt")
    project.write_text(melt_xml(edit, picture), encoding="utf-8")
    consumer = ["-consumer", f"avformat:{out}", "vcodec=ffv1", "pix_fmt=yuv420p", "an=1", "real_time=-1"]
    command = ["melt", "-silent", str(project), *consumer]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    if done.returncode != 0 or not out.is_file():
        raise RuntimeError(f"melt ended with {done.returncode}: {done.stderr[-2000:]}")
    return out


# ---- what must hold ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Played:
    """What melt shows of one dubbed shot, in frames of the edit."""

    clip: str
    frames: int  # that show this shot
    alike: int  # whose samples outside the mask are those of the original's render
    apart: int  # for which melt takes one source frame of the original and another of its dub
    alone: int  # that show no other shot and that melt does not convert
    ours: int  # of `alone`, those that are a frame of the dubbed movie, sample for sample of its luma
    exact: int  # of `ours`, those that are the frame which the edit's rules say; melt rounds other rates
    changed: float  # share of a frame that the dub changed, the largest
    note: str = ""


def planes(path: Path, frames: FrameRange | None = None) -> list[Planes]:
    """The planes of a movie's frames."""
    with open_source(path) as source:
        return [tuple(np.array(p) for p in f.planes) for f in source.frames(frames)]


def compared(
    original: Path, report: dict[str, Any], before: Path, after: Path, picture: Picture
) -> list[Played]:
    """Every dubbed shot of a report in melt's renders, of `picture`, of the original and of the dubbed edit.
    Raises `ValueError` where they differ in length.
    """
    edit = read_edit(original)
    shown, dubbed = planes(before), planes(after)
    if len(shown) != len(dubbed):
        raise ValueError(f"melt plays {len(shown)} frames of the original and {len(dubbed)} of its dub")
    clips = {(c.name, c.shown): c for c in edit.clips}
    done = [s for s in report["shots"] if s["output"]]
    shots = [_Seen(edit, clips[s["clip"], tuple(s["timeline"])], s, picture) for s in done]
    masks = np.zeros((len(shown), picture.height, picture.width), np.bool_)
    for seen in shots:
        for k, t in enumerate(range(seen.low, seen.high)):
            masks[t] |= seen.mask(k)
    return [seen.played(shown, dubbed, masks) for seen in shots]


class _Seen:
    """One dubbed shot: the frames of its dubbed movie beside those of its plate."""

    def __init__(self, edit: Edit, clip: EditClip, shot: dict[str, Any], picture: Picture) -> None:
        reference = clip.reference()
        assert reference is not None
        self.clip, (self.low, self.high) = clip, shot["timeline"]
        self.size = picture.height, picture.width
        found, _ = source_frames(clip, edit.rate, reference)
        numbers = found.frames(self.low - clip.start, self.high - clip.start)
        self.baked = shot["action"] == "bake"
        self.drawn = planes(Path(shot["output"]))
        first, end = map(int, shot["frames"].split(":"))
        self.expected = list(range(len(numbers))) if self.baked else [n - first for n in numbers]
        plates = planes(Path(shot["source"]), FrameRange(first, end))
        self.plates = [plates[n - first] for n in numbers] if self.baked else plates
        self.changes = [differing(*pair) for pair in zip(self.drawn, self.plates, strict=True)]
        self.converted = Picture.of(Path(shot["source"])) != picture
        others = [c.shown for c in edit.clips if c is not clip and c.enabled]
        frames = range(self.low, self.high)
        self.alone = [not self.converted and not any(a <= t < b for a, b in others) for t in frames]

    def near(self, k: int) -> range:
        """Frames of the movie that melt may show at frame k of the shot: the one meant and its neighbours."""
        return range(max(0, self.expected[k] - 1), min(len(self.changes), self.expected[k] + 2))

    def mask(self, k: int) -> Mask:
        """Where the dub may have changed frame k of the shot, in melt's pixels."""
        return grown(np.any([self.changes[j] for j in self.near(k)], 0), self.size)

    def played(self, shown: list[Planes], dubbed: list[Planes], masks: Mask) -> Played:
        """What both renders show of it."""
        alike = apart = ours = exact = 0
        for k, t in enumerate(range(self.low, self.high)):
            mask = masks[t]
            if self.alone[k]:
                drawn = self.which(dubbed[t], self.drawn, k)
                plate = self.which(shown[t], self.plates, k)
                ours += drawn is not None
                exact += drawn == self.expected[k]
                if (
                    drawn is not None
                    and plate is not None
                    and not same(self.plates[drawn], self.plates[plate])
                ):
                    apart += 1
                    continue
                if drawn is not None:
                    mask = grown(self.changes[drawn], self.size)
            alike += not (differing(shown[t], dubbed[t]) & ~mask).any()
        note = "of another size or colour matrix, which melt converts" if self.converted else ""
        changed = max(float(c.mean()) for c in self.changes)
        found = alike, apart, sum(self.alone), ours, exact
        return Played(self.clip.name, self.high - self.low, *found, round(changed, 3), note)

    def which(self, render: Planes, movie: list[Planes], k: int) -> int | None:
        """The frame of a movie that a render shows at frame k of the shot."""
        near = sorted(self.near(k), key=lambda j: abs(j - self.expected[k]))
        return next((j for j in near if same(render, movie[j])), None)


def same(a: Planes, b: Planes) -> bool:
    """Whether two frames have the same luma; melt resamples chroma."""
    return bool((a[0] == b[0]).all())


def differing(a: Planes, b: Planes) -> Mask:
    """(H, W) True for pixels that differ in a plane."""
    height, width = a[0].shape
    found = np.zeros((height, width), np.bool_)
    for p, q in zip(a, b, strict=True):
        apart = np.asarray(p != q, np.uint8)
        found |= cv2.resize(apart, (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return found


def grown(changed: Mask, size: tuple[int, ...]) -> Mask:
    """Changed pixels in a picture of `size` (H, W) that they are fitted into, and all that melt's resampling
    carries them to.
    """
    mask = changed.astype(np.uint8)
    height, width = size
    if mask.shape != size:
        scale = min(height / mask.shape[0], width / mask.shape[1])
        fit = round(mask.shape[1] * scale), round(mask.shape[0] * scale)
        fitted = (cv2.resize(mask * 255, fit, interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
        mask = np.zeros(size, np.uint8)
        top, left = (height - fit[1]) // 2, (width - fit[0]) // 2
        mask[top : top + fit[1], left : left + fit[0]] = fitted
    return cv2.dilate(mask, np.ones((2 * SPREAD + 1, 2 * SPREAD + 1), np.uint8)) > 0


def main() -> None:
    """Play both edits, compare, print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("original", type=Path, help="an edit (.otio)")
    parser.add_argument("dubbed", type=Path, help="its dub, with the report beside it")
    parser.add_argument("out", type=Path, help="folder to work in")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    if shutil.which("melt") is None:
        parser.exit(2, "melt is not installed (Debian: apt-get install melt)\n")
    args.out.mkdir(parents=True, exist_ok=True)
    report = json.loads(args.dubbed.with_name(args.dubbed.name + ".report.json").read_text())
    picture = Picture.of(Path(next(s["source"] for s in report["shots"] if s["output"])))
    before = play(args.original, args.out / "original.mkv", picture)
    after = play(args.dubbed, args.out / "dubbed.mkv", picture)
    found = compared(args.original, report, before, after, picture)
    for shot in found:
        print(shot)
    if args.json is not None:
        save(args.json, found)


def save(path: Path, found: list[Played]) -> None:
    """Write the result as JSON."""
    columns = (
        *("shot", "frames", "equal outside the mask", "melt rounds apart", "seen alone"),
        *("a frame of ours", "the exact one", "changed share", "note"),
    )
    rows = [tuple(str(value) for value in astuple(shot)) for shot in found]
    frames, alike, apart = (sum(getattr(s, key) for s in found) for key in ("frames", "alike", "apart"))
    alone, ours = sum(s.alone for s in found), sum(s.ours for s in found)
    finding = Finding(
        "another program (melt) plays the dubbed edit",
        "equal to its render of the original outside the masks, ours inside",
        f"{alike} of {frames - apart} frames outside; {ours} of {alone} inside",
    )
    explained = (
        "melt renders the edit and its dub. Every frame that shows a dubbed shot is compared with its render"
        " of the original outside the changed pixels and, where no other shot is mixed in, with the frames of"
        " the dubbed movie. melt starts a clip at whole frames of the edit: at rates that are no multiple of"
        " the edit's it takes, now and then, neighbouring source frames of the original and of the dub."
    )
    write_result(path, "Another program plays the dubbed edit", [explained, table(columns, rows)], [finding])


if __name__ == "__main__":
    main()
