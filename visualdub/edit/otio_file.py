"""Reads an edit with OpenTimelineIO and prints its structure as plain JSON.

The only module that imports OpenTimelineIO. `visualdub.edit.reading` runs it as a program of its own: a file
that takes the reader down takes nothing else with it, and the memory of a large file goes back at once. It
imports nothing of the project and no NumPy, so that it starts fast and is small.

    python otio_file.py EDIT         the structure of EDIT on stdout; --rate N before it: of an EDL
    python otio_file.py --otio EDIT  EDIT as the text of an .otio file on stdout
    python otio_file.py --convert EDIT TARGET  the .otio file EDIT written as TARGET; the files on stdout

A file that is refused ends it with status 3 and one line on stderr, that does not name the file.
"""

from __future__ import annotations

import json
import math
import mmap
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import opentimelineio as otio

MOST_BYTES = 500_000_000  # of an edit's text
DEEPEST = 400  # levels of brackets; edits have up to 60, and the parser crashes at some ten thousands
EDL_RATES = (24, 25, 30, 50, 60)  # frames/s; an EDL does not say its own
REFUSED = 3
_BLOCK = 1 << 20  # bytes
_BACKSLASH = ord("\\")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS = bytes(set(range(256)) - set(_STEPS))
_VALUES = ("RationalTime", "TimeRange", "TimeTransform", "Color", "Box2d", "V2d")  # listed nowhere


class Refused(Exception):
    """A file that is no edit, in one line."""


# ---- the text ----------------------------------------------------------------------------------------------


def depth_of(text: bytes | mmap.mmap) -> int:
    """The deepest nesting of brackets outside strings, in levels."""
    deepest = level = start = 0
    inside = 0  # 1 within a string
    while start < len(text):
        end = min(start + _BLOCK, len(text))
        while end < len(text) and text[end - 1] == _BACKSLASH:  # an escape is not cut in two
            end += 1
        pieces = text[start:end].replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        brackets = b"".join(pieces[inside::2]).translate(None, _NO_BRACKETS)
        if brackets:
            levels = list(accumulate(map(_STEPS.__getitem__, brackets), initial=level))
            deepest, level = max(deepest, max(levels)), levels[-1]
        inside = (inside + len(pieces) - 1) % 2
        start = end
    return deepest


def require_sound(text: bytes | mmap.mmap) -> None:
    """Raise `Refused` for a text that is too long or too deep to be parsed."""
    if len(text) > MOST_BYTES:
        raise Refused(f"holds {len(text) / 1e6:.0f} MB; expected an edit of at most {MOST_BYTES / 1e6:.0f}")
    if text and (deepest := depth_of(text)) > DEEPEST:
        raise Refused(f"nests {deepest} levels deep; expected an edit, at most {DEEPEST}")


def parsed(text: str) -> Any:
    """The OpenTimelineIO object in a JSON text. Raises `Refused` with the schema that is not known."""
    try:
        return otio.core.deserialize_json_from_string(text)
    except Exception as e:
        raise Refused(no_json(text) or unknown_schema(text) or one_line(e)) from None


def parsed_file(path: Path) -> Any:
    """As `parsed`, of a file, which is not held in memory beside what is made of it."""
    if path.stat().st_size == 0:
        raise Refused("is empty; expected the text of an edit")
    with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as text:
        require_sound(text)
        marked = text[:3] == b"\xef\xbb\xbf"
    if not marked:
        try:
            return otio.core.deserialize_json_from_file(str(path))
        except Exception:
            return parsed(decoded(path.read_bytes()))  # says what is wrong
    return parsed(decoded(path.read_bytes()))


def no_json(text: str) -> str | None:
    """Where `text` stops being JSON, where it is none."""
    try:
        json.loads(text)
    except json.JSONDecodeError as e:
        return f"is no OpenTimelineIO edit: {e.msg} in line {e.lineno}, column {e.colno}"
    return None


def unknown_schema(text: str) -> str | None:
    """Which schema of `text` this OpenTimelineIO does not know, where there is one."""
    known = {**dict.fromkeys(_VALUES, 1), **otio.core.type_version_map()}
    for found in re.finditer(r'"OTIO_SCHEMA"\s*:\s*"([\w.-]+?)\.(\d+)"', text):
        name, version = found.group(1), int(found.group(2))
        newest = known.get(name)
        if newest is None or version > newest:
            line = text.count("\n", 0, found.start()) + 1
            than = "knows no such type" if newest is None else f"knows it up to {name}.{newest}"
            return (
                f"holds a {name}.{version} in line {line}; OpenTimelineIO {otio.__version__} {than}:"
                " expected types that it knows"
            )
    return None


def one_line(error: BaseException) -> str:
    """What an error of a library says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 300 else text[:297] + "..."


# ---- formats -----------------------------------------------------------------------------------------------


def read(path: Path, rate: float | None = None) -> tuple[Any, list[str], str]:
    """The object that is in the file at `path`, what the user should know of how it was read, and its format.
    rate: of an EDL, in frames/s, where it is known.

    Raises `Refused` for anything that is no edit, or of a format whose adapter is not installed.
    """
    kind = path.suffix.lower()
    if path.stat().st_size > MOST_BYTES:
        raise Refused(
            f"holds {path.stat().st_size / 1e6:.0f} MB; expected an edit of at most {MOST_BYTES / 1e6:.0f}"
        )
    if kind in (".otio", ".json"):
        return parsed_file(path), [], "otio"
    if kind == ".otioz":
        text = bundled_text(path)
        require_sound(text)
        return parsed(decoded(text)), [], "otioz"
    if kind == ".edl":
        return *read_edl(path, rate), "cmx_3600"
    adapters = {".xml": "fcp_xml", ".aaf": "AAF", ".fcpxml": "fcpx_xml"}
    if kind not in adapters:
        raise Refused("is no edit; expected .otio, .otioz, .edl, .xml, .aaf or .fcpxml")
    return adapted(path, adapters[kind]), [], adapters[kind]


def decoded(text: bytes) -> str:
    """The characters of a JSON text. Raises `Refused` where they are not UTF-8."""
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Refused(f"is not UTF-8 at byte {e.start}; expected the text of an edit") from None


def bundled_text(path: Path) -> bytes:
    """The edit inside a bundle. Raises `Refused` for a file that is none."""
    try:
        with zipfile.ZipFile(path) as bundle:
            entry = bundle.getinfo("content.otio")
            if entry.file_size > MOST_BYTES:
                raise Refused(f"holds an edit of {entry.file_size / 1e6:.0f} MB; expected at most 500")
            return bundle.read(entry)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError):
        raise Refused("is no bundle; expected a zip file with content.otio in it") from None


def read_edl(path: Path, said: float | None = None) -> tuple[Any, list[str]]:
    """The object in an EDL and the rate it was read at; the lowest at which its timecodes exist. said: a
    rate that it has, where one is known.
    """
    refused: Refused | None = None
    for rate in EDL_RATES if said is None else (said,):
        for lenient in (False, True):
            try:
                result = adapted(path, "cmx_3600", rate=rate, ignore_timecode_mismatch=lenient)
            except Refused as e:
                refused = refused or e
                continue
            notes = [f"an EDL does not say its rate; read at {rate:g} frames/s"]
            if lenient:
                notes.append("source and record timecode differ in length; the record's is taken")
            return result, notes
    raise refused or Refused("holds no events; expected an EDL")


def adapted(path: Path, adapter: str, **options: Any) -> Any:
    """What the adapter named `adapter` makes of a file. Raises `Refused` where it cannot, or is missing."""
    if adapter not in otio.adapters.available_adapter_names():
        raise Refused(f"needs the adapter {adapter}; expected Visual Dub with its extra: visualdub[edits]")
    try:
        return otio.adapters.read_from_file(str(path), adapter_name=adapter, **options)
    except Exception as e:
        said = one_line(e)
        if adapter == "fcp_xml" and "top-level sequences" in said:
            raise Refused("is XML without a sequence; expected FCP7 XML (xmeml)") from None
        raise Refused(f"cannot be read by the adapter {adapter}: {said}") from None


# ---- plain values ------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """A value of OpenTimelineIO's metadata as JSON has it."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def own(thing: Any) -> dict[str, Any]:
    """What is written about `thing` in `metadata.visualdub`."""
    found = thing.metadata.get("visualdub")
    return plain(found) if isinstance(found, Mapping) else {}


def number(value: float) -> float | None:
    """A number, or None where it is none."""
    return float(value) if math.isfinite(value) else None


def time_range(value: Any) -> list[float | None] | None:
    """start, duration and rate; the duration in units of the start's rate."""
    if value is None:
        return None
    start, duration = value.start_time, value.duration
    length: float | None = number(duration.value)
    if length is not None and duration.rate != start.rate:
        usable = math.isfinite(duration.rate) and duration.rate > 0 and math.isfinite(start.rate)
        length = length * start.rate / duration.rate if usable else None
    return [number(start.value), length, number(start.rate)]


def reference(media: Any) -> dict[str, Any]:
    """A media reference."""
    schema = otio.schema
    found: dict[str, Any] = {"avail": time_range(media.available_range), "name": media.name}
    if mine := own(media):
        found["meta"] = mine
    if isinstance(media, schema.ExternalReference):
        return {"kind": "external", "url": media.target_url, **found}
    if isinstance(media, schema.ImageSequenceReference):
        keys = ("target_url_base", "name_prefix", "name_suffix", "start_frame", "frame_step", "rate")
        values = {key: plain(getattr(media, key)) for key in keys}
        return {"kind": "sequence", **values, "pad": media.frame_zero_padding, **found}
    if isinstance(media, schema.GeneratorReference):
        return {"kind": "generator", "generator": media.generator_kind, **found}
    return {"kind": "missing", **found}


def key_frames(metadata: Any) -> dict[str, Any]:
    """What a time effect's metadata say of the source frames it shows: a `lookup`, or an Avid's maps."""
    found: dict[str, Any] = {}
    if isinstance(metadata.get("lookup"), Sequence):
        found["lookup"] = plain(metadata["lookup"])
    aaf = metadata.get("AAF")
    parameters = aaf.get("Parameters") if isinstance(aaf, Mapping) else None
    if isinstance(aaf, Mapping) and isinstance(parameters, Mapping):
        for name in ("PARAM_SPEED_OFFSET_MAP_U", "PARAM_OFFSET_MAP_U"):
            curve = parameters.get(name)
            if isinstance(curve, Mapping) and isinstance(curve.get("keyframe_values"), Sequence):
                found[name] = plain(curve["keyframe_values"])
                found[name + "_baked"] = plain(curve.get("keyframe_baked_values"))
        found["adjust"] = plain(aaf.get("OpGroupMotionCtlOffsetMapAdjust"))
    return found


def effect(it: Any) -> dict[str, Any] | None:
    """An effect that changes what is shown when, or lets show what lies below; None for all others."""
    schema = otio.schema
    if not getattr(it, "enabled", True):
        return None
    if isinstance(it, schema.LinearTimeWarp):
        return {"kind": "linear", "scalar": number(it.time_scalar), **key_frames(it.metadata)}
    if isinstance(it, schema.TimeEffect):
        return {"kind": "ramp", **key_frames(it.metadata)}
    fcp = it.metadata.get("fcp_xml")
    if isinstance(fcp, Mapping) and fcp.get("effectid") == "timeremap":
        return {"kind": "remap", "name": it.name}
    if isinstance(fcp, Mapping) and fcp.get("effectid") == "opacity":
        return {"kind": "blend", "name": it.name or "opacity"}
    resolve = it.metadata.get("Resolve_OTIO")
    if isinstance(resolve, Mapping) and resolve.get("Enabled", True):
        return resolve_effect(resolve)
    return None


def resolve_effect(record: Any) -> dict[str, Any] | None:
    """Resolve's record of an opacity or blend mode other than the usual one."""
    parameters = record.get("Parameters")
    if record.get("Effect Name") != "Composite" or not isinstance(parameters, Sequence):
        return None
    for parameter in parameters:
        changed = parameter.get("Parameter Value") != parameter.get("Default Parameter Value")
        if changed or parameter.get("Key Frames"):
            return {"kind": "blend", "name": str(parameter.get("Parameter ID", "composite"))}
    return None


def marker(it: Any) -> dict[str, Any]:
    """A marker."""
    return {"name": it.name, "range": time_range(it.marked_range), "meta": own(it)}


# ---- the tree ----------------------------------------------------------------------------------------------


def item(it: Any, path: list[str | int]) -> dict[str, Any]:
    """An item of a track or stack with all below it; `path` is where it stands in the JSON of the file."""
    schema = otio.schema
    found: dict[str, Any] = {"name": it.name, "path": path}
    if isinstance(it, schema.Transition):
        start, end = it.in_offset, it.out_offset
        offsets = [number(start.value), number(start.rate), number(end.value), number(end.rate)]
        return {"kind": "transition", **found, "offsets": offsets, "type": it.transition_type}
    found["range"] = time_range(it.source_range)
    found["enabled"] = bool(it.enabled)
    effects = [e for e in map(effect, it.effects) if e is not None]
    optional = {"effects": effects, "markers": [marker(m) for m in it.markers], "meta": own(it)}
    found.update({key: value for key, value in optional.items() if value})
    if isinstance(it, schema.Clip):
        found["refs"] = {key: reference(m) for key, m in it.media_references().items() if m is not None}
        return {"kind": "clip", **found, "active": it.active_media_reference_key}
    if isinstance(it, schema.Gap):
        return {"kind": "gap", **found}
    if isinstance(it, schema.Track | schema.Stack):
        found["children"] = [item(child, [*path, "children", i]) for i, child in enumerate(it)]
        if isinstance(it, schema.Track):
            return {"kind": "track", "media": it.kind, **found}
        return {"kind": "stack", **found}
    return {"kind": "gap", **found, "unknown": it.schema_name()}


def structure(root: Any) -> dict[str, Any]:
    """The edit in `root` as plain values. Raises `Refused` where there is no timeline in it."""
    schema = otio.schema
    timelines = list(timelines_in(root, []))
    if timelines:
        timeline, path = timelines[0]
        start = timeline.global_start_time
        return {
            "name": timeline.name,
            "start": [number(start.value), number(start.rate)] if start is not None else None,
            "meta": own(timeline),
            "others": [t.name for t, _ in timelines[1:]],
            "stack": item(timeline.tracks, [*path, "tracks"]),
        }
    if isinstance(root, schema.Clip | schema.Track | schema.Stack):
        inner = item(root, [])
        if isinstance(root, schema.Clip):
            inner = {"kind": "track", "media": "Video", "name": "", "enabled": True, "children": [inner]}
        if inner["kind"] == "track":
            inner = {"kind": "stack", "name": "", "enabled": True, "path": None, "children": [inner]}
        return {"name": root.name, "start": None, "meta": {}, "others": [], "stack": inner}
    what = f"a {root.schema_name()}" if hasattr(root, "schema_name") else f"a {type(root).__name__}"
    if isinstance(root, list) or type(root).__name__ == "AnyVector":
        what = "a list"
    raise Refused(f"holds {what} and no timeline; expected an edit")


def timelines_in(root: Any, path: list[str | int]) -> Iterator[tuple[Any, list[str | int]]]:
    """Every timeline in an object, and where it stands in the file's JSON."""
    if isinstance(root, otio.schema.Timeline):
        yield root, path
    elif isinstance(root, otio.schema.SerializableCollection):
        for i, child in enumerate(root):
            yield from timelines_in(child, [*path, "children", i])


def freezes_by_name(timeline: Any) -> None:
    """Freezes as their own type: the adapter for EDLs divides by any other's speed."""
    for it in timeline.tracks.find_children():
        for i, change in enumerate(getattr(it, "effects", ())):
            if isinstance(change, otio.schema.LinearTimeWarp) and change.time_scalar == 0:
                it.effects[i] = otio.schema.FreezeFrame(change.name, change.metadata)


def without_plain_transitions(timeline: Any) -> None:
    """Take out transitions that no AAF held: its adapter copies what one says of them, and fails without."""
    for track in timeline.tracks.find_children(descended_from_type=otio.schema.Track):
        for child in [c for c in track if isinstance(c, otio.schema.Transition) and "AAF" not in c.metadata]:
            track.remove(child)


# ---- the program -------------------------------------------------------------------------------------------


def run(arguments: list[str]) -> str:
    """What the program prints."""
    if arguments[0] == "--convert":
        return convert(Path(arguments[1]), Path(arguments[2]))
    if arguments[0] == "--otio":
        root, _, _ = read(Path(arguments[1]))
        return str(otio.adapters.write_to_string(root, "otio_json"))
    rate = None
    if arguments[0] == "--rate":
        rate, arguments = float(arguments[1]), arguments[2:]
    root, notes, adapter = read(Path(arguments[0]), rate)
    return json.dumps({**structure(root), "notes": notes, "format": adapter}, separators=(",", ":"))


def convert(source: Path, target: Path) -> str:
    """Write the .otio file `source` as `target`, by the adapter for its suffix; the files as a JSON list.

    An EDL has one track of pictures: one is written for each.
    """
    kind = target.suffix.lower()
    adapters = {
        ".edl": "cmx_3600",
        ".xml": "fcp_xml",
        ".aaf": "AAF",
        ".fcpxml": "fcpx_xml",
        ".otioz": "otioz",
    }
    if kind not in adapters:
        raise Refused(
            f"cannot be written as {kind or 'a file without a suffix'}; expected {' '.join(adapters)}"
        )
    if adapters[kind] not in otio.adapters.available_adapter_names():
        raise Refused(
            f"needs the adapter {adapters[kind]}; expected Visual Dub with its extra: visualdub[edits]"
        )
    timeline = next((t for t, _ in timelines_in(parsed(decoded(source.read_bytes())), [])), None)
    if timeline is None:
        raise Refused("holds no timeline; expected an edit")
    if kind != ".otioz":
        at_one_rate(timeline)
        freezes_by_name(timeline)
    if kind == ".aaf":
        without_plain_transitions(timeline)
    tracks = [t for t in timeline.tracks if t.kind == otio.schema.TrackKind.Video]
    if kind == ".edl" and len(tracks) > 1:
        files = []
        for number, track in enumerate(tracks, 1):
            alone = otio.schema.Timeline(
                f"{timeline.name} V{number}", global_start_time=timeline.global_start_time
            )
            alone.tracks.append(track.clone())
            files.append(target.with_name(f"{target.stem}.V{number}{target.suffix}"))
            write_as(alone, files[-1], adapters[kind])
        return json.dumps([str(f) for f in files])
    write_as(timeline, target, adapters[kind])
    return json.dumps([str(target)])


def write_as(timeline: Any, target: Path, adapter: str) -> None:
    """Write a timeline by an adapter. Raises `Refused` where it cannot."""
    options: dict[str, Any] = {}
    if adapter == "AAF":
        options = {"use_empty_mob_ids": True}
    if adapter == "otioz":
        target.unlink(missing_ok=True)  # it refuses to replace one
        options = {"media_policy": otio.adapters.file_bundle_utils.MediaReferencePolicy.MissingIfNotFile}
    try:
        otio.adapters.write_to_file(timeline, str(target), adapter, **options)
    except Exception as e:
        raise Refused(f"cannot be written as {target.suffix}: {one_line(e)}") from None


def at_one_rate(timeline: Any) -> None:
    """Count all times in frames of the timeline's rate and give every item and its media a range: most
    formats know one rate, and their adapters fail where a range is missing.
    """
    start = timeline.global_start_time
    spans = [c.source_range for c in timeline.find_clips() if c.source_range is not None]
    rate = start.rate if start is not None else spans[0].start_time.rate if spans else 24.0

    def counted(span: Any) -> Any:
        first, length = (t.rescaled_to(rate) for t in (span.start_time, span.duration))
        time = otio.opentime.RationalTime
        return otio.opentime.TimeRange(time(round(first.value), rate), time(round(length.value), rate))

    for it in timeline.tracks.find_children():
        if isinstance(it, otio.schema.Transition):
            it.in_offset = otio.opentime.RationalTime(round(it.in_offset.rescaled_to(rate).value), rate)
            it.out_offset = otio.opentime.RationalTime(round(it.out_offset.rescaled_to(rate).value), rate)
            continue
        if isinstance(it, otio.schema.Track):
            continue
        it.source_range = counted(it.source_range or it.available_range())
        if isinstance(it, otio.schema.Clip):
            for media in it.media_references().values():
                media.available_range = counted(media.available_range or it.source_range)


def main() -> int:
    """Entry point; the exit status."""
    try:
        text = run(sys.argv[1:])
    except Refused as e:
        sys.stderr.write(f"{e}\n")
        return REFUSED
    except OSError as e:
        sys.stderr.write(f"cannot be read: {e.strerror or e}\n")
        return REFUSED
    sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
