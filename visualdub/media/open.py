"""Opens a media file, or says in one line why it cannot be read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import av
import av.container
import av.error

from visualdub.errors import MediaError

# Demuxers that turn any text into pictures or send FFmpeg to other files and hosts.
_REFUSED_FORMATS = {"tty", "concat", "hls", "dash", "sdp", "image2", "applehttp"}
_MOV_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"}
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


@contextmanager
def open_media(path: Path) -> Iterator[av.container.InputContainer]:
    """Open `path` for reading. Raises `MediaError` where it is missing, not media, or truncated."""
    if not path.exists():
        raise MediaError(f"{path}: no such file; expected a media file")
    if not path.is_file():
        raise MediaError(f"{path} is not a file; expected a media file")
    require_whole(path)
    with reading(path):
        container = av.open(f"file:{path}", metadata_errors="replace")  # titles are not UTF-8 in every file
    with container:
        if container.format.name in _REFUSED_FORMATS:
            raise MediaError(
                f"{path} is not a media file (it reads as {container.format.long_name}); expected video or"
                " audio"
            )
        yield container


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors while `path` is read into one-line `MediaError`s."""
    try:
        yield
    except av.error.InvalidDataError as e:
        found = "it is a text file" if _is_text(path) else "it is damaged, truncated or another kind of file"
        raise MediaError(f"{path} cannot be read as media: {found}; expected a clip or a sound file") from e
    except av.error.FFmpegError as e:
        raise MediaError(f"{path} cannot be read: {e.strerror or e}; expected a readable media file") from e
    except OSError as e:
        raise MediaError(f"{path} cannot be read: {e.strerror or e}; expected a readable media file") from e


def _is_text(path: Path) -> bool:
    try:
        with path.open("rb") as f:
            return all(c >= 32 or c in b"\t\r\n" for c in f.read(512))
    except OSError:
        return False


def require_whole(path: Path) -> None:
    """Raise `MediaError` where the container's own sizes say that the file ends too early, or where it is
    empty.
    """
    size = path.stat().st_size
    if size == 0:
        raise MediaError(f"{path} is empty (0 bytes); expected a media file")
    try:
        with path.open("rb") as f:
            end = _declared_end(f, size)
    except OSError as e:
        raise MediaError(f"{path} cannot be read: {e.strerror}; expected a readable media file") from e
    if end is None:
        raise MediaError(
            f"{path} is truncated or was never finished: it has no index (moov); expected a whole file"
        )
    if end > size:
        raise MediaError(f"{path} is truncated: {size} bytes found, {end} expected")


def _declared_end(f: BinaryIO, size: int) -> int | None:
    """Where the file should end in bytes, at least; None for a QuickTime file without its index."""
    head = f.read(16)
    if head[4:8] in _MOV_BOXES:
        return _mov_end(f, size)
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WAVE"):
        declared = int.from_bytes(head[4:8], "little")
        return 0 if declared in (0, 0xFFFFFFFF) or head[8:12] == b"WAVE" else declared + 8
    if head[:4] == _EBML.to_bytes(4, "big"):
        return _matroska_end(f)
    return 0


def _mov_end(f: BinaryIO, size: int) -> int | None:
    """Walk the top-level boxes of a QuickTime or MP4 file."""
    at, indexed = 0, False
    while at + 8 <= size:
        f.seek(at)
        head = f.read(16)
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = struct.unpack(">Q", head[8:])[0]
        elif length == 0:
            length = size - at
        if length < 8:
            break
        indexed = indexed or kind in (b"moov", b"moof")
        at += length
    if at > size:
        return at
    return at if indexed else None


def _matroska_end(f: BinaryIO) -> int:
    """End of the Segment element of a Matroska or WebM file; 0 where its size is not declared (a live
    recording).
    """
    f.seek(0)
    for _ in range(4):
        ident, _known = _ebml_number(f, keep_marker=True)
        length, known = _ebml_number(f, keep_marker=False)
        if not known:
            return 0
        if ident == _SEGMENT:
            return f.tell() + length
        f.seek(length, 1)
    return 0


def _ebml_number(f: BinaryIO, keep_marker: bool) -> tuple[int, bool]:
    """One variable-length integer and whether it is known (not all ones). (0, False) at the end of the
    file.
    """
    first = f.read(1)
    if not first or first[0] == 0:
        return 0, False
    extra = 8 - first[0].bit_length()
    rest = f.read(extra)
    value = int.from_bytes(first + rest, "big")
    if keep_marker:
        return value, True
    bits = 7 * (extra + 1)
    value &= (1 << bits) - 1
    return value, value != (1 << bits) - 1
