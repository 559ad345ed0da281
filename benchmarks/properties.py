"""What becomes of a clip's properties in each container, tried on small clips: docs/properties.md.

`python -m benchmarks.properties` writes the page, with `--check` it says whether the page is what the code
does now.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from benchmarks.samples import movies
from benchmarks.samples.movies import Sample
from visualdub.errors import BadInput
from visualdub.measure.result import write_result
from visualdub.media.carried import CompanionSource
from visualdub.media.delivery import choose_codec, viewer_notes
from visualdub.media.frame import ClipInfo
from visualdub.media.movie_writer import AudioSource, MovieWriter
from visualdub.media.pixel_format import bit_depth
from visualdub.media.source import open_source, probe

PAGE = Path(__file__).resolve().parents[1] / "docs" / "properties.md"
OUTPUTS = ("out.mkv", "out.mov", "out.mp4")
HDR = {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": 16}
X265 = {"x265-params": f"log-level=none:master-display={movies.GRADED}:max-cll=1000,400"}
Fact = Callable[[ClipInfo], object]


@dataclass(frozen=True)
class Property:
    """Something a clip may have, a small clip that has it, and how it is told of a file."""

    name: str
    clip: str  # its file name
    make: Sample | Callable[[Path], Path]
    fact: Fact
    unseen: str = ""  # why a change of it is nothing that a viewer has to be told


@dataclass(frozen=True)
class Fate:
    """What became of a property in one container."""

    word: str  # kept, converted, left out, refused or LOST (without a word)
    notes: tuple[str, ...]  # what the user is told


def try_property(given: Property, folder: Path) -> dict[str, Fate]:
    """The fate of a property in each of OUTPUTS: its clip is read, written as `vdub dub` writes, and read."""
    clip = folder / given.clip
    _ = given.make.write(clip) if isinstance(given.make, Sample) else given.make(clip)
    return {name: _fate(given, clip, folder / name) for name in OUTPUTS}


def _fate(given: Property, clip: Path, out: Path) -> Fate:
    try:
        info = probe(clip)
        codec = choose_codec(out, image=info.image)
        notes = tuple(viewer_notes(info, out, codec))
        sound = AudioSource(clip) if info.has_audio else None
        written = MovieWriter(out, info, codec, sound, carried=CompanionSource(clip))
        with open_source(clip) as source, written as writer:
            for frame in source.frames():
                writer.write(frame)
    except BadInput as e:
        return Fate("refused", (str(e).replace(f"{clip.parent}/", ""),))
    before, after = given.fact(info), given.fact(probe(out))
    if not before:
        raise SystemExit(f"{clip.name} does not have what it was made for: {given.name}")
    if before == after:
        return Fate("kept", notes)
    notes = notes or ((given.unseen,) if given.unseen else ())
    return Fate("LOST" if not notes else "converted" if after else "left out", notes)


# ---- how a property is told of a file ----------------------------------------------------------------------


def _chapters(info: ClipInfo) -> object:
    with av.open(str(info.path)) as container:
        return [
            (c["metadata"].get("title"), c["start"] * (c["time_base"] or 1), c["end"] * (c["time_base"] or 1))
            for c in container.chapters()
        ]


def _subtitles(info: ClipInfo) -> object:
    with av.open(str(info.path)) as container:
        found = []
        for stream in container.streams.subtitles:
            for packet in container.demux(stream):
                data = bytes(packet)
                if packet.size and data[:2] != b"\0\0" and packet.pts is not None:
                    found.append((stream.codec_context.name, packet.pts * packet.time_base, data))
        return found


def _alpha(info: ClipInfo) -> object:
    with open_source(info.path) as source:
        frame = next(source.frames())
    if not info.image.pix_fmt.startswith(("yuva", "gbrap")):
        return None
    return round(float(frame.planes[-1].mean()) / ((1 << bit_depth(info.image.pix_fmt)) - 1), 2)


def _size(info: ClipInfo) -> object:
    return info.image.width, info.image.height


def _depth(info: ClipInfo) -> object:
    return info.image.pix_fmt


def _colour(info: ClipInfo) -> object:
    return info.image.colour


def _hdr_depth(info: ClipInfo) -> object:
    bits = 10 if "10le" in info.image.pix_fmt else 8
    return bits if info.image.colour.transfer in (16, 18) else None


def _orientation(info: ClipInfo) -> object:
    return (info.image.rotation, info.image.mirrored) if info.image.rotation or info.image.mirrored else None


def _layout(info: ClipInfo) -> object:
    return any("stereo 3D" in note for note in info.notes)


def _videos(info: ClipInfo) -> list[int]:
    with av.open(str(info.path)) as container:
        return [s.index for s in container.streams.video]


def _frames(info: ClipInfo) -> object:
    with open_source(info.path) as source:
        return sum(1 for _ in source.frames()), info.rate


# ---- the clips ---------------------------------------------------------------------------------------------


def _jumping(path: Path) -> Path:
    """Two seconds of one transport stream whose clock jumps back 40 s in the middle."""
    first = Sample(count=12).write(path).read_bytes()
    path.write_bytes(movies.shifted_ts(first, 90000 * 50) + movies.shifted_ts(first, 90000 * 10))
    return path


def _wrapping(path: Path) -> Path:
    """A transport stream whose 33 bit clock wraps after a few frames."""
    first = Sample(count=24).write(path).read_bytes()
    path.write_bytes(movies.shifted_ts(first, (1 << 33) - 90000 * 2 + 5 * 3600))
    return path


GAPS = [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13]
INTERLACED = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
PROPERTIES = (
    Property("24000/1001 frames/s", "ntsc.mkv", Sample(rate=Fraction(24000, 1001)), lambda i: i.rate),
    Property("timecode", "tc.mov", Sample(metadata={"timecode": "01:02:03:04"}), lambda i: i.timecode),
    Property(
        "a frame that is shown longer",
        "held.mp4",
        Sample(stamps=[*range(8), *range(10, 14)]),
        lambda i: i.repeated,
    ),
    Property("several lost frames", "lost.mkv", Sample(stamps=GAPS), _frames),
    Property("a clock that jumps back", "jump.ts", _jumping, _frames),
    Property("a clock that wraps at 33 bit", "wrap.ts", _wrapping, _frames),
    Property("10 bit 4:2:2", "deep.mkv", Sample("ffv1", "yuv422p10le"), _depth),
    Property("8 bit RGB", "rgb.mkv", Sample("ffv1", "bgr0"), _depth),
    Property("full range", "full.mp4", Sample(context={"color_range": 2}), lambda i: i.image.colour.range),
    Property(
        "colour tags", "p3.mp4", Sample(context={**HDR, "color_primaries": 12, "color_trc": 1}), _colour
    ),
    Property(
        "10 bit of PQ", "pq.mkv", Sample("libx265", "yuv420p10le", context=HDR, options=X265), _hdr_depth
    ),
    Property(
        "10 bit of HLG",
        "hlg.mkv",
        Sample("libx265", "yuv420p10le", context={**HDR, "color_trc": 18}, options=X265),
        _hdr_depth,
    ),
    Property(
        "mastering display and light level",
        "graded.mp4",
        Sample("libx265", "yuv420p10le", context=HDR, options=X265),
        lambda i: i.hdr,
    ),
    Property("a stereo 3D layout", "stereo.mp4", Sample(options={"x264-params": "frame-packing=3"}), _layout),
    Property("alpha of FFV1", "alpha.mkv", Sample("ffv1", "yuva420p"), _alpha),
    Property("alpha of ProRes 4444", "alpha.mov", Sample("prores_ks", "yuva444p10le"), _alpha),
    Property("alpha of VP9", "alpha.webm", Sample("libvpx-vp9", "yuva420p"), _alpha),
    Property(
        "interlaced, upper field first",
        "fields.mp4",
        Sample(options=INTERLACED, context={"field_order": 2}, fields=2),
        lambda i: i.field_order,
    ),
    Property("a quarter turn", "turned.mp4", Sample(matrix=movies.QUARTER), _orientation),
    Property("a mirrored picture", "mirrored.mp4", Sample(matrix=movies.MIRRORED), _orientation),
    Property("a picture turned by 45 degrees", "tilted.mp4", Sample(matrix=movies.TILTED), _orientation),
    Property(
        "oblong pixels",
        "pal.mkv",
        Sample(context={"sample_aspect_ratio": Fraction(16, 15)}),
        lambda i: i.image.sample_aspect,
    ),
    Property("an odd size in 4:2:0", "odd.mkv", Sample("ffv1", size=(95, 63)), _size),
    Property(
        "chroma sited at the top left",
        "sited.mp4",
        Sample(options={"chroma_sample_location": "topleft"}),
        lambda i: i.image.siting,
        "nothing: ProRes means the left, chroma is moved there and the picture stays what it was",
    ),
    Property(
        "a second video stream",
        "two.mkv",
        Sample(streams=movies.second_video((48, 32))),
        lambda i: len(_videos(i)) - 1,
    ),
    Property("chapters", "chapters.mkv", Sample(before=movies.chapters), _chapters),
    Property("subtitles, SubRip", "srt.mkv", Sample(streams=movies.subtitles(movies.SRT, "srt")), _subtitles),
    Property("subtitles, ASS", "ass.mkv", Sample(streams=movies.subtitles(movies.ASS, "ass")), _subtitles),
    Property("subtitles, MP4 text", "text.mp4", Sample(streams=movies.mov_text), _subtitles),
    Property(
        "closed captions (CEA-608)",
        "608.ts",
        Sample(packets=movies.with_captions),
        lambda i: i.companions.captions,
    ),
    Property(
        "an attached font", "font.mkv", Sample(streams=movies.attachment), lambda i: i.companions.attachments
    ),
)


# ---- the page ----------------------------------------------------------------------------------------------

HEAD = """# What becomes of a clip's properties

Written by `make properties` (`python -m benchmarks.properties`): each line is a small clip, read and written
as `vdub dub` writes a movie without `--codec`. *Kept*: the written file says the same. *Converted*: it says
something close, and a note of the command says what. *Left out*: it says nothing, and a note says so.
*Refused*: the clip is not read, and one line says why.
"""


def try_all(properties: Sequence[Property] = PROPERTIES) -> dict[str, dict[str, Fate]]:
    """The fates of every property, by its name and the output's."""
    found = {}
    for given in properties:
        with tempfile.TemporaryDirectory() as folder:
            found[given.name] = try_property(given, Path(folder))
    return found


def row(name: str, fates: dict[str, Fate]) -> str:
    """The line of the table."""
    return f"| {name} | {' | '.join(fates[out].word for out in OUTPUTS)} |"


def sentences(name: str, fates: dict[str, Fate]) -> list[str]:
    """What the user is told of a property, a line of the list each."""
    return [f"- {name}: {note}." for note in dict.fromkeys(n for out in OUTPUTS for n in fates[out].notes)]


def page(found: dict[str, dict[str, Fate]]) -> str:
    """docs/properties.md."""
    lines = ["| property | .mkv | .mov | .mp4 |", "|---|---|---|---|", *(row(n, f) for n, f in found.items())]
    told = [line for name, fates in found.items() for line in sentences(name, fates)]
    return "\n".join([HEAD, *lines, "", "What the command says:", "", *told, ""])


def main() -> None:
    """Write the page; with --check exit 1 where it is out of date, always where anything is lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page differs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as JSON")
    args = parser.parse_args()
    fates = try_all()
    text = page(fates)
    lost = [name for name, fate in fates.items() if any(f.word == "LOST" for f in fate.values())]
    if args.json:
        write_result(args.json, "What becomes of a clip's properties", text.splitlines()[8:])
    if args.check:
        same = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text
        print("up to date" if same else f"{PAGE.name} is out of date; run make properties")
        sys.exit(0 if same and not lost else 1)
    PAGE.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(f"lost without a word: {', '.join(lost)}" if lost else 0)


if __name__ == "__main__":
    main()
