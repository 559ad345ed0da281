"""The messages between clients and the service: every field, its type and its bounds, written once.

A message is a msgpack map, the first frame of a ZeroMQ message; bulk data (pixels, performances) follow as
frames of their own. Requests carry `op`, replies `re`; `v` is the version of this schema and `id` is the
client's number for the request, which its replies repeat. What a reader must refuse stands in `decode`.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeVar

import msgpack
import msgspec
from msgspec import Meta, Struct

VERSION = 1  # of the messages; a service speaks one
EDITION = 5  # of this schema; raised whenever a field or a message is added
MOST_BYTES = 64 << 10  # of a request without its bulk data
MOST_REPLY_BYTES = 4 << 20  # of a reply without its bulk data
MOST_DEPTH = 8  # of maps and lists inside each other
MOST_BULK = 32 << 20  # bytes of one frame of bulk data

# ---- types of fields ---------------------------------------------------------------------------------------

Id = Annotated[int, Meta(ge=0, le=2**53)]
JobId = Annotated[int, Meta(ge=1, le=2**53)]
Number = Annotated[int, Meta(ge=0, le=2**31)]  # of a frame in its clip
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Host = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,80}$")]
Range = Annotated[str, Meta(pattern=r"^[0-9]{1,9}:[0-9]{1,9}$")]
Ranges = Annotated[tuple[Range, ...], Meta(max_length=1000)]
Priority = Annotated[int, Meta(ge=-10, le=10)]
FrameKind = Literal["dub", "plate", "matte", "raw", "uv"]
Pixels = Literal["rgb8", "rgb", "native"]  # rgb: 16 bit where the clip has more than 8
Quality = Literal["draft", "final"]
Codec = Literal["ffv1", "prores", "prores4444", "h264", "hevc"]
State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every message carries."""

    v: Literal[1]
    id: Id


# ---- requests ----------------------------------------------------------------------------------------------


class Request(Message, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """What a client asks for."""


class Hello(Request, frozen=True, kw_only=True, tag="hello"):
    """Who asks, and what it speaks; answered by `Welcome`."""

    client: Host  # the host application, for the list of jobs
    edition: Annotated[int, Meta(ge=1, le=10**6)]


class ActorList(Request, frozen=True, kw_only=True, tag="actor_list"):
    """Every actor of the service's library; answered by `Actors`."""


class ActorShow(Request, frozen=True, kw_only=True, tag="actor_show"):
    """One actor's record; answered by `Actors`."""

    actor: Text


class ActorAdd(Request, frozen=True, kw_only=True, tag="actor_add"):
    """Copy the package at `path` into the service's library; answered by `Actors`."""

    path: Text


class ActorRemove(Request, frozen=True, kw_only=True, tag="actor_remove"):
    """Delete an actor of the library and what is kept of it; answered by `Done`."""

    actor: Text


class ActorWithdraw(Request, frozen=True, kw_only=True, tag="actor_withdraw"):
    """Record that the person withdrew consent; nothing is rendered any more; answered by `Actors`."""

    actor: Text


class DubOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that decides a dub of one clip; the options of `vdub dub` by the same names."""

    clip: Text
    output: Text
    actor: Text | None = None  # a name in the library, or the path of a package; None: a draft of nobody's
    consent: Text | None = None  # "who, when, scope": of the person, where there is no actor
    dialogue: Text | None = None  # needed unless `driver` has sound
    driver: Text | None = None
    driver_face: Name | None = None
    frames: Range | None = None
    skip: Ranges = ()
    only: Ranges = ()
    face: Name | None = None
    use_performance: Text | None = None
    performance: Text | None = None  # where to write what the mouth does
    mouth_gain: Annotated[float, Meta(ge=0, le=3)] = 1.0
    smooth_ms: Annotated[float, Meta(ge=0, le=500)] = 0.0
    offset_ms: Annotated[float, Meta(ge=-1000, le=1000)] = 0.0
    matte: Text | None = None
    occluded: Literal["hold", "pass", "draw"] = "hold"
    holdout: Text | None = None
    script: Text | None = None  # a file with what `dialogue` says, in `language`
    language: Name | None = None
    codec: Codec | None = None
    crf: Annotated[int, Meta(ge=0, le=51)] = 16
    watermark: bool = True
    keep_audio: bool = False


class EditOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that decides a dub of an edit; the options of `vdub dub EDIT` by the same names."""

    edit: Text
    output: Text  # a folder
    actor: Text | None = None  # as in `DubOptions`; None: the edit or the cast says who speaks
    dialogue_track: Name | None = None
    dialogue_folder: Text | None = None
    cast: Text | None = None
    languages: Name | None = None  # "fr,de"
    longer: Literal["next-shot", "cut", "hold"] = "next-shot"
    consent: Text | None = None  # "who, when, scope": of the people who have no actor, to a draft
    relink: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    host: Literal["resolve", "premiere", "avid", "nuke"] | None = None  # --for
    as_default: bool = False
    codec: Codec | None = None
    crf: Annotated[int, Meta(ge=0, le=51)] = 16
    watermark: bool = True


class SubmitEdit(Request, frozen=True, kw_only=True, tag="submit_edit"):
    """Dub the clips of an edit, in place; answered by `Accepted`."""

    edit: EditOptions
    quality: Quality = "final"
    priority: Priority = 0


class Submit(Request, frozen=True, kw_only=True, tag="submit"):
    """Dub a clip; answered by `Accepted`."""

    dub: DubOptions
    quality: Quality = "final"
    priority: Priority = 0


class Adapt(Request, frozen=True, kw_only=True, tag="adapt"):
    """Make an actor of clips of one person, or of one edit that shows them, into the library; answered by
    `Accepted`. frames, face: of clips alone.
    """

    clips: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)]
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,63}$")]
    consent: Text  # "who, when, scope"
    frames: Range | None = None
    face: Name | None = None
    minutes: Annotated[float, Meta(gt=0, le=10080)] | None = None
    steps: Annotated[int, Meta(ge=1, le=10**7)] | None = None
    priority: Priority = 0


class Track(Request, frozen=True, kw_only=True, tag="track"):
    """Track the face of a clip into the file `output`; answered by `Accepted`."""

    clip: Text
    output: Text
    frames: Range | None = None
    face: Name | None = None
    priority: Priority = 0


class Speech(Request, frozen=True, kw_only=True, tag="speech"):
    """Predict what the mouth does, into the performance file that `dub.performance` names, and draw nothing;
    answered by `Accepted`.
    """

    dub: DubOptions
    priority: Priority = 0


class Jobs(Request, frozen=True, kw_only=True, tag="jobs"):
    """The newest jobs, or one; answered by `JobTable`."""

    job: JobId | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Watch(Request, frozen=True, kw_only=True, tag="watch"):
    """The progress of a job until it ends: `Event`s, `Beat`s in between, at last a `JobTable` of it."""

    job: JobId


class Cancel(Request, frozen=True, kw_only=True, tag="cancel"):
    """Stop a job; answered by `JobTable`."""

    job: JobId


class Retry(Request, frozen=True, kw_only=True, tag="retry"):
    """Run a job again that failed, was cancelled, or is paused; answered by `JobTable`."""

    job: JobId


class Final(Request, frozen=True, kw_only=True, tag="final"):
    """Run a drafted job again in its final quality; answered by `JobTable`."""

    job: JobId


class SetPriority(Request, frozen=True, kw_only=True, tag="priority"):
    """Change when a job that waits has its turn, higher first; answered by `JobTable`."""

    job: JobId
    priority: Priority


class Frame(Request, frozen=True, kw_only=True, tag="frame"):
    """One frame of a job's shot, ahead of its turn; answered by `Picture`."""

    job: JobId
    number: Number  # in the clip
    kind: FrameKind = "dub"
    pixels: Pixels = "rgb8"
    # only the bounds of what the dub changes; None: where pictures do not come as files
    box: bool | None = None


class PerformanceGet(Request, frozen=True, kw_only=True, tag="performance_get"):
    """What the mouth of a job does; answered by `Done` with one frame of bulk data, a performance file."""

    job: JobId


class PerformancePut(Request, frozen=True, kw_only=True, tag="performance_put"):
    """An edited performance for a job, one frame of bulk data; answered by `JobTable`.

    run: dub the job's movie again, too; frames that the edit does not reach are not rendered again.
    """

    job: JobId
    run: bool = True


class Status(Request, frozen=True, kw_only=True, tag="status"):
    """How the service is; answered by `Report`."""


class Shutdown(Request, frozen=True, kw_only=True, tag="shutdown"):
    """End the service; jobs go on when it is started again; answered by `Done`."""


AnyRequest = (
    Hello
    | ActorList
    | ActorShow
    | ActorAdd
    | ActorRemove
    | ActorWithdraw
    | Submit
    | SubmitEdit
    | Adapt
    | Track
    | Speech
    | Jobs
    | Watch
    | Cancel
    | Retry
    | Final
    | SetPriority
    | Frame
    | PerformanceGet
    | PerformancePut
    | Status
    | Shutdown
)

# ---- replies -----------------------------------------------------------------------------------------------


class Reply(Message, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="re"):
    """What the service answers."""


class Welcome(Reply, frozen=True, kw_only=True, tag="welcome"):
    """What the service speaks and can."""

    version: str  # of Visual Dub
    edition: int
    capabilities: tuple[str, ...]
    local: bool  # whether pictures come as files


class Done(Reply, frozen=True, kw_only=True, tag="done"):
    """It is done; there is nothing more to say."""


class Refusal(Reply, frozen=True, kw_only=True, tag="error"):
    """It is not done."""

    kind: Literal["bad_request", "refused", "busy", "failed", "fault"]
    message: str
    waiting: int = 0  # requests in the queue, where it is full


class Actors(Reply, frozen=True, kw_only=True, tag="actors"):
    """Records of actors, as `vdub actor list --json` prints them."""

    actors: tuple[dict[str, Any], ...]


class Accepted(Reply, frozen=True, kw_only=True, tag="accepted"):
    """The number of a job. joined: the same was asked for before and is not done twice."""

    job: JobId
    joined: bool = False


class JobRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job as clients see it."""

    job: int
    kind: Literal["dub", "edit", "adapt", "track", "speech"]
    state: State
    client: str
    priority: int
    quality: Quality
    title: str  # what it makes
    stage: str  # of the work, as the progress bar of `vdub` names it
    done: int  # of `total` units of the stage
    total: int
    rate: float  # units per second, 0 where unknown
    reason: str  # why it is paused, failed or cancelled
    attempts: int
    created: float  # seconds since 1970
    started: float
    ended: float
    result: dict[str, Any]  # of a finished job: its report


class JobTable(Reply, frozen=True, kw_only=True, tag="jobs"):
    """Jobs, the newest first. waiting: how many are queued in all."""

    jobs: tuple[JobRow, ...]
    waiting: int = 0


class Event(Reply, frozen=True, kw_only=True, tag="event"):
    """How far a watched job is."""

    job: JobRow


class Beat(Reply, frozen=True, kw_only=True, tag="beat"):
    """The service lives and the request is still worked at."""


class Plane(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One array of a picture, row by row without gaps."""

    shape: tuple[int, ...]
    dtype: Literal["uint8", "uint16", "float32"]


class Picture(Reply, frozen=True, kw_only=True, tag="picture"):
    """A frame. Its planes follow each other in the file at `path` from `offset` on, or, where `path` is
    None, in one frame of bulk data, packed by zlib.
    """

    number: int
    kind: FrameKind
    key: str  # equal keys are equal pixels
    pixels: str  # rgb8, rgb16, float, or FFmpeg's name of the pixel format
    width: int  # of the whole picture
    height: int
    box: tuple[int, int, int, int]  # left, top, right, bottom of what is here, half open
    drawn: bool  # False: the frame passes through as it is
    planes: tuple[Plane, ...]
    path: str | None = None
    offset: int = 0


class Report(Reply, frozen=True, kw_only=True, tag="report"):
    """How the service is; what a page or a monitor shows."""

    values: dict[str, Any]


AnyReply = Welcome | Done | Refusal | Actors | Accepted | JobTable | Event | Beat | Picture | Report

# ---- to and from bytes -------------------------------------------------------------------------------------

M = TypeVar("M")


class Unreadable(ValueError):
    """Bytes that are no message of this schema; says why in one line."""


def encode(message: Struct) -> bytes:
    """The msgpack bytes of a message."""
    return msgspec.msgpack.encode(message)


def decode_request(data: bytes) -> AnyRequest:
    """The request in `data`. Raises `Unreadable` for anything else."""
    request: AnyRequest = _convert(plain_values(data), AnyRequest)
    return request


def decode_reply(data: bytes) -> AnyReply:
    """The reply in `data`. Raises `Unreadable` for anything else."""
    reply: AnyReply = _convert(plain_values(data, MOST_REPLY_BYTES), AnyReply)
    return reply


def number_in(data: bytes) -> int:
    """The `id` in what is no request of this schema, to tell its sender; 0 where there is none."""
    try:
        number = plain_values(data).get("id")
    except Unreadable:
        return 0
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 2**53 else 0


def _convert(values: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(values, kind, strict=True)
    except msgspec.ValidationError as e:
        raise Unreadable(str(e)) from e


def plain_values(data: bytes, most: int = MOST_BYTES) -> dict[str, Any]:
    """The map in `data`: plain values alone. Raises `Unreadable` for more than `most` bytes, for broken
    msgpack and bytes after it, for a key that comes twice or is no text, binary data, extension types, NaN
    and infinities, and for more than MOST_DEPTH levels.
    """
    if len(data) > most:
        raise Unreadable(f"the message has {len(data)} bytes; expected at most {most}")
    try:
        values = msgpack.unpackb(
            data,
            object_pairs_hook=_unique,
            ext_hook=_no_extension,
            strict_map_key=True,
            max_bin_len=0,
        )
    except Unreadable:
        raise
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as e:
        raise Unreadable(f"the message is no msgpack: {type(e).__name__} {e}"[:200]) from e
    if not isinstance(values, dict):
        raise Unreadable(f"the message is a {type(values).__name__}; expected a map")
    _require_plain(values, MOST_DEPTH)
    return values


def _unique(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            raise Unreadable(f"the message has a key that is a {type(key).__name__}; expected text")
        if key in found:
            raise Unreadable(f"the message has the key {key[:40]!r} twice")
        found[key] = value
    return found


def _no_extension(code: int, data: bytes) -> Any:
    raise Unreadable(f"the message has a value of extension type {code}")


def _require_plain(value: Any, depth: int) -> None:
    if depth < 0:
        raise Unreadable(f"the message has more than {MOST_DEPTH} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"the message holds the number {value}")
    if isinstance(value, msgpack.Timestamp):
        raise Unreadable("the message has a value of extension type -1")
    if isinstance(value, dict):
        for inner in value.values():
            _require_plain(inner, depth - 1)
    elif isinstance(value, list):
        for inner in value:
            _require_plain(inner, depth - 1)
