"""How many bits of a dub's watermark survive H.264: reads them from the FFV1 dub, then from copies at usual
qualities.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from visualdub.errors import BadInput
from visualdub.media.movie_writer import Codec, MovieWriter
from visualdub.media.pixel_format import bit_depth
from visualdub.media.source import open_source, probe
from visualdub.records import read_provenance
from visualdub.render.watermark import BITS, WatermarkReader, payload_from_text


def surviving(movie: Path, expected: np.ndarray, box: tuple[int, int, int, int]) -> tuple[int, float]:
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
    """One line per quality."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dub", type=Path, help="an FFV1 dub with its provenance record beside it")
    parser.add_argument("--crf", type=int, nargs="*", default=(16, 18, 20, 23, 26, 28))
    args = parser.parse_args()
    mark = read_provenance(args.dub).watermark
    if mark.payload is None or mark.box is None:
        raise BadInput(f"{args.dub} carries no watermark; expected a dub made without --no-watermark")
    expected = payload_from_text(mark.payload)
    right, least = surviving(args.dub, expected, mark.box)
    print(f"{args.dub.name}: {right} of {BITS} bits, least certain {least:.1f} sigma", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for crf in args.crf:
            copy = Path(folder) / f"crf{crf}.mp4"
            transcode(args.dub, copy, crf)
            right, least = surviving(copy, expected, mark.box)
            rate = copy.stat().st_size * 8 / (probe(copy).frame_count / float(probe(copy).rate)) / 1e6
            print(
                f"H.264 crf {crf} ({rate:.2f} Mbit/s): {right} of {BITS} bits, least certain {least:.1f}"
                " sigma",
                flush=True,
            )


if __name__ == "__main__":
    main()
