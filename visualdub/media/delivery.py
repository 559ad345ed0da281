"""What a clip becomes in a file: the codec, what its pictures are like there, and what a viewer loses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import av

from visualdub.errors import BadInput
from visualdub.media.carried import ATTACHING, subtitles_kept
from visualdub.media.frame import ChromaSiting, ClipInfo, HdrMetadata, ImageSpec
from visualdub.media.pixel_format import bit_depth, coded_size, has_alpha, is_float, is_rgb
from visualdub.media.transfer import HLG, PQ
from visualdub.media.yuv import chroma_factors, delivered_as, full_range

CODECS = {  # name -> suffixes it may be written to
    "ffv1": (".mkv",),
    "prores": (".mov",),
    "prores4444": (".mov",),
    "h264": (".mp4", ".m4v", ".mov", ".mkv"),
    "hevc": (".mp4", ".m4v", ".mov", ".mkv"),
}
MUXERS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4", ".m4v": "mp4"}
_BY_SUFFIX = {".mkv": "ffv1", ".mov": "prores", ".mp4": "h264", ".m4v": "h264"}
_NAMES = {
    "ffv1": "FFV1",
    "prores": "ProRes 422",
    "prores4444": "ProRes 4444",
    "h264": "H.264",
    "hevc": "HEVC",
}
SMALLEST_HEVC = 64  # pixels either way; x265 writes past the end of its own memory below 64


DRAFT_PRESET = "ultrafast"
HEVC_PRESET = "veryfast"  # "superfast" takes a quarter less time, and at the same crf 0.8 dB of PSNR


@dataclass(frozen=True)
class Codec:
    """How pictures are encoded."""

    name: str  # one of CODECS
    crf: int = 16  # h264 and hevc only: quality, 0 lossless .. 51, lower is better
    # h264 and hevc only: the encoder's preset. At the same crf "superfast" takes H.264 a third less time than
    # "veryfast", at twice the size and 1.4 dB more PSNR; "ultrafast" 0.6 less, at four times the size.
    preset: str = "superfast"


def choose_codec(path: Path, name: str | None = None, crf: int = 16, image: ImageSpec | None = None) -> Codec:
    """The codec for an output: `name`, or the one that its suffix stands for.

    With the `image` of the pictures to come, .mov is ProRes 4444 where they have alpha and .mp4 is HEVC where
    they are PQ or HLG. Raises `BadInput` where codec and suffix do not fit together.
    """
    suffix = path.suffix.lower()
    if suffix not in MUXERS:
        raise BadInput(
            f"{path} ends in {suffix or 'no suffix'!r}; expected .mkv (FFV1), .mov (ProRes) or .mp4 (H.264)"
        )
    name = name or _default_codec(suffix, image)
    if name not in CODECS:
        raise BadInput(f"codec {name!r} is not known; expected one of {', '.join(CODECS)}")
    if suffix not in CODECS[name]:
        raise BadInput(f"{path}: {name} is not written to {suffix}; expected {' or '.join(CODECS[name])}")
    return Codec(name, crf, HEVC_PRESET) if name == "hevc" else Codec(name, crf)


def _default_codec(suffix: str, image: ImageSpec | None) -> str:
    name = _BY_SUFFIX[suffix]
    if name == "prores" and image is not None and has_alpha(image.pix_fmt):
        return "prores4444"
    if name == "h264" and image is not None and is_hdr(image) and _large_enough(image) and _has_hevc():
        return "hevc"
    return name


# ---- the pictures ------------------------------------------------------------------------------------------


def is_hdr(image: ImageSpec) -> bool:
    """Whether the transfer curve is PQ or HLG, which eight bits are too few for."""
    return image.colour.transfer in (PQ, HLG)


def delivered(image: ImageSpec, codec: str, path: Path) -> ImageSpec:
    """What pictures like `image` are in the file `path` of `codec`, before `even_size`. ProRes says neither
    range nor siting and means limited range and the left. Raises `BadInput` where it cannot hold them.
    """
    target = delivered_as(image, _delivery_format(image, codec, path))
    if not codec.startswith("prores"):
        return target
    return replace(target, siting=ChromaSiting.LEFT, colour=replace(target.colour, range=1))


def _delivery_format(image: ImageSpec, codec: str, path: Path) -> str:
    if codec == "ffv1":
        if is_float(image.pix_fmt):
            raise BadInput(f"{path}: ffv1 holds no float samples ({image.pix_fmt}); choose another codec")
        return image.pix_fmt
    if codec == "prores":
        return "yuv422p10le"
    if codec == "prores4444":
        return "yuva444p10le" if has_alpha(image.pix_fmt) else "yuv444p10le"
    if codec == "hevc" and not _has_hevc():
        raise BadInput(f"{path}: the PyAV that is installed has no encoder for hevc; choose another codec")
    if codec == "hevc" and not _large_enough(image):
        raise BadInput(
            f"{path}: hevc is not written in {image.width} x {image.height} pixels; expected"
            f" {SMALLEST_HEVC} or more either way"
        )
    return "yuv420p10le" if codec == "hevc" or is_hdr(image) else "yuv420p"


def _has_hevc() -> bool:
    return "libx265" in av.codecs_available


def _large_enough(image: ImageSpec) -> bool:
    return min(image.width, image.height) >= SMALLEST_HEVC


def even_size(image: ImageSpec, codec: str) -> ImageSpec:
    """`image` as large as the codec's pictures are: H.264 and HEVC in 4:2:0 have even sizes alone, ProRes
    even widths.
    """
    width, height = coded_size(image)
    if codec != "ffv1":
        width += width % 2
    if codec in ("h264", "hevc"):
        height += height % 2
    turned = image.rotation in (90, 270)
    return (
        replace(image, width=height, height=width) if turned else replace(image, width=width, height=height)
    )


# ---- what a viewer loses -----------------------------------------------------------------------------------


def viewer_notes(info: ClipInfo, path: Path, codec: Codec) -> list[str]:
    """What a viewer of the clip `info` misses or finds changed in the file `path` of `codec`, and how the
    clip was read: a sentence each.
    """
    target = delivered(info.image, codec.name, path)
    return [
        *info.notes,
        *_picture_notes(info, target, path, codec.name),
        *_companion_notes(info, path),
    ]


def _picture_notes(info: ClipInfo, target: ImageSpec, path: Path, codec: str) -> list[str]:
    image, name, notes = info.image, _NAMES[codec], []
    if has_alpha(image.pix_fmt) and not has_alpha(target.pix_fmt):
        notes.append(
            f"{path.name} has no alpha: {name} holds none, the clip's is left out; FFV1 in .mkv and ProRes"
            " 4444 in .mov keep it"
        )
    padded = even_size(target, codec)
    if (padded.width, padded.height) != (image.width, image.height):
        sizes = f"{padded.width} x {padded.height}, the clip {image.width} x {image.height}"
        odd = "widths" if codec.startswith("prores") else "sizes"
        notes.append(
            f"{path.name} is {sizes}: {name} has no odd {odd}, so the last row or column is repeated"
        )
    if _poorer(image, target):
        notes.append(f"{path.name} is {_described(target)}, the clip {_described(image)}")
    if full_range(image) and not full_range(target) and not is_rgb(image.pix_fmt):
        notes.append(f"{path.name} is in limited range, the clip in full range")
    if is_hdr(image) and codec == "h264":
        notes.append(f"{path.name} is 10 bit H.264, which few players show; hevc is the usual codec of HDR")
    if info.field_order in (2, 3, 4, 5) and codec == "hevc":
        notes.append(f"{path.name} does not say that its pictures are interlaced: HEVC is written as frames")
    return notes


def _poorer(image: ImageSpec, target: ImageSpec) -> bool:
    """Whether the target has fewer bits or less chroma."""
    if is_float(image.pix_fmt):
        return True
    coarse = zip(chroma_factors(image), chroma_factors(target), strict=True)
    grey = image.pix_fmt.startswith("gray")
    return bit_depth(target.pix_fmt) < bit_depth(image.pix_fmt) or (
        not grey and any(new > old for old, new in coarse)
    )


def _described(image: ImageSpec) -> str:
    """Bit depth and chroma of a format as the field says them."""
    depth = "float" if is_float(image.pix_fmt) else f"{bit_depth(image.pix_fmt)} bit"
    if is_rgb(image.pix_fmt):
        return f"{depth} RGB"
    if image.pix_fmt.startswith("gray"):
        return f"{depth} grey"
    chroma = image.pix_fmt.replace("yuva", "yuv")[3:6]
    return f"{depth} {':'.join(chroma)}"


def _companion_notes(info: ClipInfo, path: Path) -> list[str]:
    found, notes = info.companions, []
    muxer = MUXERS[path.suffix.lower()]
    for fate, words in (("left out", "leaves out"), ("converted", "holds as plain text")):
        those = [s for s in found.subtitles if subtitles_kept(s, muxer) == fate]
        if those:
            count = _counted(len(those), "subtitle stream")
            notes.append(f"{path.name} {words} {count} of the clip ({', '.join(those)})")
    if found.captions:
        notes.append(f"{path.name} has no closed captions: those inside the clip's pictures are left out")
    others = [*found.data, *(() if muxer in ATTACHING else found.attachments)]
    if others:
        count = _counted(len(others), "other stream")
        notes.append(f"{path.name} leaves out {count} of the clip ({', '.join(others)})")
    return notes


def carried_hdr(info: ClipInfo, image: ImageSpec) -> HdrMetadata | None:
    """The HDR metadata to write beside pictures like `image`."""
    return info.hdr if is_hdr(image) else None


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
