"""What a WAV file says of itself: its length, its timecode, and whose voice each of its channels is.

Names of channels come from iXML, which recorders write, or from ADM, which mixers do: a `chna` chunk that
says which track a channel is, and an `axml` chunk with the objects that tracks belong to.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree

from visualdub.errors import BadInput

SUFFIXES = (".wav", ".bwf", ".rf64")
_LARGEST_CHUNK = 8 << 20  # bytes of metadata that are read
_MOST_CHANNELS = 1024
_NOT_ITS_SIZE = 0xFFFFFFFF  # of a chunk whose size is in `ds64`
_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # the start of a text whose last byte may be a 0
_METADATA = (b"ds64", b"fmt ", b"bext", b"iXML", b"chna", b"axml")

ChannelNames = tuple[tuple[str, ...], ...]  # the names of each channel, the most specific first


@dataclass(frozen=True)
class WavFacts:
    """What a WAV file says of itself."""

    rate: int  # Hz
    samples: int
    time_reference: int | None = None  # samples after midnight (BWF `bext`)
    channels: ChannelNames = ()  # of every channel, or empty where none has a name
    problem: str | None = None  # why its names could not be read


def channels_named(channels: ChannelNames, name: str) -> tuple[int, ...]:
    """The channels, counted from 0, that have a name, whatever its case."""
    wanted = name.strip().casefold()
    return tuple(i for i, names in enumerate(channels) if wanted in (n.casefold() for n in names))


def wav_facts(path: Path) -> WavFacts:
    """Length, timecode and names of the channels of a WAV file (RIFF, RF64 or BW64). Raises `BadInput` for
    others.
    """
    with path.open("rb") as f:
        head = f.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
            raise BadInput(f"{path} is no WAV file; expected RIFF, RF64 or BW64")
        chunks = _read_chunks(f, path.stat().st_size)
    form = chunks.bodies.get(b"fmt ", b"")
    rate, block = struct.unpack("<IxxxxH", form[4:14]) if len(form) >= 16 else (0, 0)
    if rate == 0 or block == 0:
        raise BadInput(f"{path} has no format; expected a WAV file of PCM samples")
    count = struct.unpack("<H", form[2:4])[0]
    bext = chunks.bodies.get(b"bext", b"")
    reference = struct.unpack("<Q", bext[338:346])[0] if len(bext) >= 346 else None
    problem, names = None, dict[int, tuple[str, ...]]()
    try:
        names = _ixml_names(chunks.bodies.get(b"iXML")) or _adm_names(chunks.bodies)
    except _Refused as e:
        problem = f"the names of its channels are not read: {e}"
    listed = tuple(names.get(i, ()) for i in range(count)) if count <= _MOST_CHANNELS else ()
    return WavFacts(rate, chunks.data // block, reference, listed if any(listed) else (), problem)


# ---- chunks ------------------------------------------------------------------------------------------------


@dataclass
class _Chunks:
    bodies: dict[bytes, bytes] = field(default_factory=dict)
    data: int = 0  # bytes of samples that are there


def _read_chunks(f: BinaryIO, file_size: int) -> _Chunks:
    """The chunks after the head of a file."""
    found, large = _Chunks(), 0
    while len(header := f.read(8)) == 8:
        name, length = header[:4], struct.unpack("<I", header[4:])[0]
        if name == b"data":
            size = large if length == _NOT_ITS_SIZE else length
            found.data = max(0, min(size, file_size - f.tell()))
            f.seek(size + size % 2, 1)
            continue
        body = f.read(length) if name in _METADATA and length <= _LARGEST_CHUNK else b""
        f.seek(length - len(body) + length % 2, 1)
        if body:
            found.bodies.setdefault(name, body)
        if name == b"ds64" and len(body) >= 16:
            large = struct.unpack("<Q", body[8:16])[0]
    return found


# ---- names -------------------------------------------------------------------------------------------------


class _Refused(Exception):
    """XML that is not read."""


class _NoDoctype(ElementTree.TreeBuilder):
    """Builds a tree of a document that declares nothing, so that no entity of its own is ever expanded."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _Refused("a DOCTYPE, which such files have no need of")


def _tree(body: bytes, what: str) -> ElementTree.Element:
    """The root of a document, whatever its encoding. Raises `_Refused`."""
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(body if body[:2] in _UTF16 else body.strip(b"\0 \t\r\n"))  # recorders pad it
        return parser.close()
    except _Refused as e:
        raise _Refused(f"its {what} has {e}") from None
    except (ElementTree.ParseError, LookupError, ValueError) as e:
        raise _Refused(f"its {what} is no XML ({e})") from None


def _ixml_names(body: bytes | None) -> dict[int, tuple[str, ...]]:
    """Names by channel, of iXML."""
    names: dict[int, tuple[str, ...]] = {}
    if not body:
        return names
    for order, track in enumerate(_tree(body, "iXML").iter("TRACK"), 1):
        name = (track.findtext("NAME") or "").strip()
        index = track.findtext("INTERLEAVE_INDEX") or track.findtext("CHANNEL_INDEX") or str(order)
        if name and index.strip().isdecimal():
            names.setdefault(int(index) - 1, (name,))
    return names


def _adm_names(bodies: Mapping[bytes, bytes]) -> dict[int, tuple[str, ...]]:
    """Names by channel, of ADM: those of the object that a channel's track belongs to, and of its content."""
    chna, axml = bodies.get(b"chna", b""), bodies.get(b"axml", b"")
    if len(chna) < 4 or not axml:
        return {}
    root = _tree(axml, "ADM")
    tracks: dict[str, list[str]] = {}  # track UID -> names
    contents = [e for e in root.iter() if _local(e) == "audioContent"]
    for thing in root.iter():
        if _local(thing) != "audioObject":
            continue
        names = [thing.get("audioObjectName", "")]
        names += [c.get("audioContentName", "") for c in contents if thing.get("audioObjectID") in _refs(c)]
        for child in thing:
            if _local(child) == "audioTrackUIDRef":
                tracks.setdefault((child.text or "").strip(), []).extend(names)
    found: dict[int, tuple[str, ...]] = {}
    for start in range(4, len(chna) - 39, 40):
        index, uid = struct.unpack("<H12s", chna[start : start + 14])
        names = [n.strip() for n in tracks.get(uid.rstrip(b"\0").decode("ascii", "replace"), ())]
        if index and any(names):
            found.setdefault(index - 1, tuple(dict.fromkeys(n for n in names if n)))
    return found


def _refs(content: ElementTree.Element) -> list[str]:
    """The objects that a content refers to."""
    return [(e.text or "").strip() for e in content if _local(e) == "audioObjectIDRef"]


def _local(element: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]
