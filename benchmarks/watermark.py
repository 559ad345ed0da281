"""How many bits of a dub's watermark survive H.264: reads them from the FFV1 dub, then from copies at usual
qualities.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.movie_writer import Codec, MovieWriter
from visualdub.media.pixel_format import bit_depth
from visualdub.media.source import open_source, probe
from visualdub.records import read_provenance
from visualdub.render.watermark import BITS, WatermarkReader, payload_from_text


def surviving(movie: Path, expected: NDArray[np.uint8], box: tuple[int, int, int, int]) -> tuple[int, float]:
    """How many of the bits are read right from `movie`, and the certainty of the least certain one, in
    standard deviations.
    """
    reader = WatermarkReader()
    with open_source(movie) as source:
        for frame in source.frames():
            reader.add(frame.planes[0], bit_depth(frame.image.pix_fmt), box)
    return int((reader.bits == expected).sum()), float(reader.certainty.min())


def transcode(source: Path, output: Path, crf: int) -> None:
    """An H.264 copy without sound."""
    with open_source(source) as clip, MovieWriter(output, clip.info, Codec("h264", crf)) as writer:
        for frame in clip.frames():
            writer.write(frame)


def main() -> None:
    """One line for the dub and one for each quality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dub", type=Path, help="an FFV1 dub with its provenance record beside it")
    parser.add_argument("--crf", type=int, nargs="*", default=(16, 18, 20, 23, 26, 28), help="of H.264")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    mark = read_provenance(args.dub).watermark
    if mark.payload is None or mark.box is None:
        raise BadInput(f"{args.dub} carries no watermark; expected a dub made without --no-watermark")
    expected, box = payload_from_text(mark.payload), mark.box
    info = probe(args.dub)
    rows, figures = [], dict[str, float]()

    def measure(name: str, movie: Path) -> None:
        right, least = surviving(movie, expected, box)
        rate = movie.stat().st_size * 8 / (info.frame_count / float(info.rate)) / 1e6
        rows.append((name, f"{rate:.2f}", f"{right} of {BITS}", f"{least:.1f}"))
        figures[f"{name.lower().replace(' ', '_')}_bits"] = right
        print(
            f"{name} ({rate:.2f} Mbit/s): {right} of {BITS} bits, least certain {least:.1f} sigma", flush=True
        )

    measure("FFV1", args.dub)
    with tempfile.TemporaryDirectory() as folder:
        for crf in args.crf:
            copy = Path(folder) / f"crf{crf}.mp4"
            transcode(args.dub, copy, crf)
            measure(f"CRF {crf}", copy)
    if args.json:
        text = [
            f"{info.frame_count} frames of {args.dub.name}, and copies of it in H.264. How certain the least"
            " certain bit is, in standard deviations of what an unmarked movie gives.",
            table(("movie", "Mbit/s", "bits read right", "least certain bit"), rows),
        ]
        measured = "; ".join(f"{name}: {bits}" for name, _, bits, _ in rows)
        finding = Finding("watermark bits read from the FFV1 dub and from H.264 copies", "", measured)
        write_result(args.json, "Watermark", text, [finding], figures)


if __name__ == "__main__":
    main()
