"""`vdub train prepare`: clips are found, tracked, cropped and packed, one shard each, some at a time.

What a shard was made of and how stands in the shard itself, with a checksum. A later run keeps every shard
that is whole and was made alike, and makes the others again; that is how a stopped run goes on. A clip that
cannot be used is refused, listed with the reason in `dataset.json` and `refused.csv`, and the rest goes on.
Refused clips are tried again by the next run.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.frames import mouth_box, own_mel
from training.data.packed import (
    INDEX,
    RATE,
    SCHEMA,
    SUFFIX,
    ClipFacts,
    Dataset,
    read_whole,
    thinned,
    write_shard,
)
from training.data.sources import FaceArea, Source, find_sources
from training.data.workers import Workers, add_work
from visualdub.errors import BadInput, Interrupted, MediaError, NoFace, OutputError
from visualdub.face.crop import SIZE, stable_crop, warp_crop
from visualdub.face.models import DEFAULT_FACE_MODEL
from visualdub.face.track import Track
from visualdub.media.movie_reader import content_hash
from visualdub.media.source import open_source, probe
from visualdub.media.yuv import frame_rgb
from visualdub.speech.sync import trusted_offset
from visualdub.stages import Progress
from visualdub.storage import require_writable, write_json, write_text
from visualdub.timing import FrameRange

LEAST = 25  # frames with a face, below which a clip is refused
SHARE = (
    LEAST + 5
    # frames that each clip of a person gets at least; where there are too many clips for that, some are left
    # out
)
# a clip of up to this many frames is tracked from end to end, as `vdub dub` does, and shares that track
WHOLE = 3000
OVERRUN = (
    1.0  # seconds a published passage may end after its video; more, and it is another edit of that video
)
REFUSED = "refused.csv"


@dataclass(frozen=True)
class Settings:
    """What a dataset is made with."""

    frames: int = 1500  # at most, of one person, at 25 frames/s
    quality: int = 90  # of WebP, 1..100
    validation: tuple[str, ...] = ()  # speakers kept out of training
    jobs: int = 1  # processes

    def __post_init__(self) -> None:
        if self.frames < LEAST:
            raise BadInput(f"--frames {self.frames} is less than a clip needs; expected {LEAST} or more")
        if not 1 <= self.quality <= 100:
            raise BadInput(f"--quality {self.quality} is out of range; expected 1 to 100")
        if self.jobs < 1:
            raise BadInput(f"--jobs {self.jobs} is out of range; expected 1 or more")


@dataclass(frozen=True)
class Refusal:
    """A clip that is not in the dataset."""

    clip: str
    reason: str


@dataclass(frozen=True)
class Prepared:
    """What a run left: the dataset's clips and what is to say about it."""

    clips: tuple[ClipFacts, ...]
    refused: tuple[Refusal, ...]
    kept: int  # of the clips, whose shards a former run had made
    notes: tuple[str, ...]


# ---- one clip ----------------------------------------------------------------------------------------------


def pack_clip(
    path: Path,
    track: Track,
    folder: Path,
    name: str,
    speaker: str,
    split: str,
    most: int,
    quality: int,
    own_sound: bool,
    recipe: str = "",
    progress: Progress | None = None,
    listed_ms: float | None = None,
) -> ClipFacts:
    """Write the shard of one clip and return what the index says of it.

    track: of consecutive frames of `path`. most: frames to keep. own_sound: False where the clip's sound is
    not the person's. recipe: see `write_shard`. listed_ms: how late a list says the picture is against the
    sound, taken where that cannot be measured (lists are rounded, and made with decoders that start the sound
    elsewhere). Raises `NoFace` where fewer than `LEAST` frames are usable.
    """
    crop = stable_crop(track)
    thin, rows = thinned(track, most)
    if thin.usable.sum() < LEAST:
        raise NoFace(
            f"{path.name}: {int(thin.usable.sum())} frames with a usable face; expected {LEAST} or more"
        )
    affine = crop.affine[rows]
    mouth = np.zeros((len(rows), 4), np.int32)
    for i in np.flatnonzero(thin.usable):
        mouth[i] = mouth_box(thin.landmarks[i], affine[i], SIZE)
    offset_ms = _av_offset(path, track, listed_ms) if own_sound else None
    sound = own_mel(path, track, (offset_ms or 0.0) / 1000) if own_sound else None
    mel = None if sound is None else sound[rows]
    crops = _crops(path, track, thin.usable, affine, rows, progress)
    write_shard(folder / f"{name}{SUFFIX}", thin, affine, crops, mouth, mel, quality, recipe, offset_ms)
    return _facts(name, speaker, split, track.source_hash, thin.usable, affine, mel is not None, offset_ms)


def _av_offset(path: Path, track: Track, listed_ms: float | None) -> float | None:
    """How many ms the picture is late against the sound: measured, else as listed."""
    found, _ = trusted_offset(path, track)
    return listed_ms if found is None else round(1000 * found)


def _crops(
    path: Path,
    track: Track,
    usable: NDArray[np.bool_],
    affine: NDArray[np.float64],
    rows: NDArray[np.int64],
    progress: Progress | None,
) -> Iterator[NDArray[np.uint8]]:
    """The crops (S, S, 3) of the track's frames `rows` (ascending), one at a time; black where there is no
    face.
    """
    i = 0
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    with open_source(path) as source:
        for k, frame in enumerate(source.frames(FrameRange(track.start, track.start + int(rows[-1]) + 1))):
            while i < len(rows) and rows[i] == k:
                yield warp_crop(frame_rgb(frame), affine[i]) if usable[i] else black
                i += 1
                if progress is not None:
                    progress.report("packing", i, len(rows))


def _facts(
    name: str,
    speaker: str,
    split: str,
    source_hash: str,
    usable: NDArray[np.bool_],
    affine: NDArray[np.float64],
    sound: bool,
    offset_ms: float | None,
) -> ClipFacts:
    pixels = float(SIZE / np.median(affine[usable, 0, 0]))
    return ClipFacts(
        name, speaker, split, len(usable), int(usable.sum()), round(pixels, 1), source_hash, sound, offset_ms
    )


# ---- in a worker -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Survey:
    """What is known of a clip before it is tracked."""

    frames: FrameRange  # the wanted ones
    rate: Fraction
    size: tuple[int, int]  # width, height
    source_hash: str

    @property
    def packable(self) -> int:
        """How many frames it has at `RATE`."""
        return int(len(self.frames) * min(self.rate, RATE) / self.rate)


@dataclass(frozen=True)
class Job:
    """One shard to make, or to keep."""

    source: Source
    survey: Survey
    split: str
    most: int  # frames to pack
    quality: int
    face_model: str
    folder: Path

    @property
    def tracked(self) -> FrameRange:
        """The frames to track: all of a short clip, else as many as are packed."""
        found = self.survey.frames
        if self.source.seconds is None and len(found) <= WHOLE:
            return found
        needed = ceil(self.most * self.survey.rate / min(self.survey.rate, RATE))
        return FrameRange(found.start, min(found.end_exclusive, found.start + needed))

    def recipe(self) -> str:
        """What the shard's bytes depend on besides the source, the quality and the face model."""
        area = asdict(self.source.area) if self.source.area else None
        return json.dumps(
            {
                "most": self.most,
                "tracked": str(self.tracked),
                "area": area,
                "own_sound": self.source.own_sound,
                "av_offset_ms": self.source.av_offset_ms,
            }
        )

    def kept(self) -> ClipFacts | None:
        """The facts of the shard that a former run left, None where it has to be made."""
        try:
            meta, tensors = read_whole(self.folder / f"{self.source.name}{SUFFIX}")
        except BadInput:
            return None
        wanted = {
            "schema": str(SCHEMA),
            "quality": str(self.quality),
            "face_model": self.face_model,
            "source_hash": self.survey.source_hash,
            "recipe": self.recipe(),
        }
        if any(meta.get(k) != v for k, v in wanted.items()):
            return None
        return _facts(
            self.source.name,
            self.source.speaker,
            self.split,
            self.survey.source_hash,
            tensors["confidence"] > 0,
            tensors["affine"],
            "mel" in tensors,
            json.loads(meta["av_offset_ms"]),
        )


@dataclass(frozen=True)
class Outcome:
    """What came of a job."""

    facts: ClipFacts | None
    reason: str = ""  # why there is none
    kept: bool = False  # made by a former run


def _survey(source: Source) -> Survey | str:
    """Rate, length and hash of a clip, or why it is refused."""
    try:
        add_work(0)
        info = probe(source.path)
        frames = FrameRange(0, info.frame_count)
        if source.seconds is not None:
            start, end = (ceil(s * info.rate) for s in source.seconds)
            if end > info.frame_count + OVERRUN * info.rate or start >= info.frame_count:
                length = float(info.frame_count / info.rate)
                return (
                    f"the passage ends at {source.seconds[1]} s, the video after {length:.1f} s; "
                    "it is not the video that was annotated"
                )
            frames = FrameRange(start, min(end, info.frame_count))
        return Survey(frames, info.rate, (info.image.width, info.image.height), content_hash(source.path))
    except BadInput as e:
        return str(e)


def _make(job: Job) -> Outcome:
    """Keep or make one shard."""
    work = _Share(job.most)
    kept = job.kept()
    if kept is not None:
        work.done(1)
        return Outcome(kept, kept=True)
    source = job.source
    try:
        track = _track(job, Progress(lambda _, done, total: work.done(done / total / 2)))
        facts = pack_clip(
            source.path,
            track,
            job.folder,
            source.name,
            source.speaker,
            job.split,
            job.most,
            job.quality,
            source.own_sound,
            job.recipe(),
            Progress(lambda _, done, total: work.done(0.5 + done / total / 2)),
            source.av_offset_ms,
        )
        return Outcome(facts)
    except BadInput as e:
        return Outcome(None, str(e))
    finally:
        work.done(1)


class _Share:
    """How much of one clip's work is done: tracking is one half, packing the other."""

    def __init__(self, frames: int) -> None:
        self._frames, self._done = frames, 0.0

    def done(self, share: float) -> None:
        """Report that `share` (0..1) is done. Raises `Interrupted` once the user has stopped the whole."""
        further = max(0.0, share - self._done)
        self._done += further
        add_work(further * self._frames)


def _track(job: Job, progress: Progress) -> Track:
    from visualdub.face.tracker import cached_track, track_clip

    source, frames = job.source, job.tracked
    if source.area is not None:
        return track_in_area(source.path, frames, source.area, job.survey.size[1], progress, job.face_model)
    if source.seconds is None and frames == job.survey.frames:
        return cached_track(source.path, progress=progress, model=job.face_model)[0]
    return track_clip(source.path, frames, progress=progress, model=job.face_model)


def track_in_area(
    path: Path,
    frames: FrameRange,
    area: FaceArea,
    height: int,
    progress: Progress | None = None,
    model: str = DEFAULT_FACE_MODEL,
) -> Track:
    """The track of the face whose centre lies in `area`, as a median over its frames; height of the clip in
    pixels; name of the face model.

    Raises `NoFace` where there is none.
    """
    from visualdub.face.detect import MAX_FACES
    from visualdub.face.tracker import track_clip

    left, top, right, bottom = area.in_picture(height)
    for face in (f"{(left + right) / 2:.1f},{(top + bottom) / 2:.1f}", *(str(i) for i in range(MAX_FACES))):
        try:
            track = track_clip(path, frames, face, progress, model=model)
        except (NoFace, MediaError):
            raise
        except BadInput:  # no face is at the area's centre, or there are fewer than that
            continue
        x, y = np.nanmedian(track.landmarks[:, :, :2].mean(1), 0)
        if left <= x < right and top <= y < bottom:
            return track
    raise NoFace(
        f"{path.name}: no face in frames {frames} has its centre in the published crop, x {left:.0f} to"
        f" {right:.0f}, y {top:.0f} to {bottom:.0f}"
    )


# ---- all clips ---------------------------------------------------------------------------------------------


def prepare_dataset(
    folders: Sequence[Path], output: Path, settings: Settings, progress: Progress | None = None
) -> Prepared:
    """Pack the clips of `folders` into the dataset `output`, or go on with it. `progress` gets frames done
    and in all.

    Raises `BadInput` where nothing can be packed, where a speaker of the validation list has no clip and
    where `output` holds something else; `Interrupted` on Ctrl-C: what is finished is kept.
    """
    sources = find_sources(folders)
    validation = check_validation(sources, settings.validation)
    require_dataset_folder(output)
    index = _Index(output, settings, validation)
    try:
        with Workers(min(settings.jobs, len(sources))) as workers:
            jobs = _plan(sources, workers, index)
            total = sum(job.most for job in jobs)
            tick = None
            if progress is not None:
                report = progress.report  # bound here, where it is known to be there
                tick = lambda done: report("packing", min(round(done), total), total)  # noqa: E731
            for job, outcome in workers.run(_make, jobs, tick):
                index.add(job, outcome)
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(
            f"stopped; {len(index.clips)} of {len(sources)} clips are packed in {output}; "
            "the same command goes on from there"
        ) from None
    index.write(complete=True)
    if not index.clips:
        first = index.refusals()[0]
        raise BadInput(
            f"none of {len(sources)} clips could be packed ({first.clip}: {first.reason}); "
            f"expected clips of people talking; all reasons stand in {output / REFUSED}"
        )
    return Prepared(index.facts(), index.refusals(), index.kept, tuple(_notes(index)))


def check_validation(sources: Sequence[Source], wanted: Sequence[str]) -> frozenset[str]:
    """The speakers kept for validation.

    Raises `BadInput` for one that no clip has: a typo must not let a person into training.
    """
    speakers = sorted({s.speaker for s in sources} - {""})
    for name in wanted:
        if name not in speakers:
            near = difflib.get_close_matches(name, speakers, 3, 0.5)
            hint = (
                f"the nearest are {', '.join(near)}"
                if near
                else f"there are {', '.join(speakers[:8])}" + (", ..." if len(speakers) > 8 else "")
            )
            raise BadInput(f"--validation names the speaker {name!r}, whom no clip has; {hint}")
    return frozenset(wanted)


def read_validation(text: str) -> tuple[str, ...]:
    """Speakers from a comma-separated list, or from a text file with one on each line (# begins a comment).

    Raises `BadInput` for a file that is no text.
    """
    names = text.split(",")
    if Path(text).is_file():
        try:
            names = [
                re.sub(r"(^|\s)#.*", "", line) for line in Path(text).read_text(encoding="utf-8").splitlines()
            ]
        except (OSError, UnicodeDecodeError) as e:
            raise BadInput(
                f"--validation {text} cannot be read as text: {e}; expected one speaker on each line"
            ) from e
    return tuple(dict.fromkeys(n.strip() for n in names if n.strip()))


def require_dataset_folder(output: Path) -> None:
    """Raise `BadInput` where `output` is neither absent, empty nor a dataset; `OutputError` where it cannot
    be written to.
    """
    if not output.exists():
        require_writable(output)
        return
    if not output.is_dir():
        raise OutputError(f"{output} is a file; expected a new folder, or a dataset to go on with")
    if any(output.iterdir()) and not (output / INDEX).is_file():
        raise BadInput(
            f"{output} is not empty and no dataset (it holds no {INDEX}); expected a new folder, or a dataset"
            " to go on with"
        )
    if any(output.iterdir()):
        Dataset(output)
    require_writable(output / INDEX)


def _plan(sources: Sequence[Source], workers: Workers, index: _Index) -> list[Job]:
    """The shards to make; every other clip is refused here."""
    people: dict[str, list[tuple[Source, Survey]]] = {}
    surveyed = dict(workers.run(_survey, [s for s in sources if not s.refused]))
    seen: dict[tuple[str, FrameRange], Source] = {}
    for source in sorted(
        sources, key=lambda s: (s.speaker not in index.validation, s.name)
    ):  # a copy stays out of training
        found = surveyed.get(source, source.refused)
        if isinstance(found, str):
            index.refuse(source, found)
        elif (copied := seen.setdefault((found.source_hash, found.frames), source)) is not source:
            index.refuse(source, f"the same pictures as {copied.label}")
        elif found.packable < LEAST:
            index.refuse(source, f"{found.packable} frames at {RATE} frames/s; expected {LEAST} or more")
        else:
            people.setdefault(source.speaker, []).append((source, found))
    jobs = []
    for speaker, clips in sorted(people.items()):
        split = "validation" if speaker in index.validation else "train"
        shares = share_frames([survey.packable for _, survey in clips], index.settings.frames)
        for (source, survey), most in zip(clips, shares, strict=True):
            if most:
                jobs.append(
                    Job(source, survey, split, most, index.settings.quality, index.face_model, index.folder)
                )
            else:
                index.refuse(source, f"not needed: {speaker} has {sum(shares)} frames in other clips")
    index.write()
    return jobs


def share_frames(lengths: Sequence[int], most: int) -> list[int]:
    """How many frames each clip of one person gives, `most` together: equal shares, what short clips leave
    goes to longer ones.

    Where there are so many clips that a share would be shorter than `SHARE`, clips evenly spread over the
    list give none.
    """
    count = max(1, min(len(lengths), most // SHARE))
    chosen = (
        range(len(lengths))
        if sum(lengths) <= most
        else [(2 * k + 1) * len(lengths) // (2 * count) for k in range(count)]
    )
    shares, left = [0] * len(lengths), most
    for k, i in enumerate(sorted(chosen, key=lambda i: lengths[i])):
        shares[i] = min(lengths[i], left // (len(chosen) - k))
        left -= shares[i]
    return shares


def _notes(index: _Index) -> Iterator[str]:
    facts = index.facts()
    people = {c.speaker for c in facts if c.split == "train"}
    if len(people) < 2:
        yield (
            f"{len(people) or 'no'} {'person' if len(people) == 1 else 'people'} to train on; vdub train"
            " prior needs two or more"
        )
    lost = sorted(index.validation - {c.speaker for c in facts})
    if lost:
        yield f"none of their clips could be packed, though kept for validation: {', '.join(lost)}"
    listed = {c.name for c in facts}
    others = sorted(
        p.name for p in index.folder.glob(f"*{SUFFIX}") if p.name.removesuffix(SUFFIX) not in listed
    )
    if others:
        yield (
            f"{len(others)} shards of clips that are not in the dataset now lie in {index.folder}, unused:"
            f" {others[0]}" + (", ..." if len(others) > 1 else "")
        )


class _Index:
    """The dataset's files besides its shards, written anew after every clip."""

    def __init__(self, folder: Path, settings: Settings, validation: frozenset[str]) -> None:
        self.folder, self.settings, self.validation = folder, settings, validation
        self.face_model = DEFAULT_FACE_MODEL
        self.clips: dict[str, ClipFacts] = {}
        self.kept = 0
        self._refused: dict[str, Refusal] = {}
        try:
            folder.mkdir(exist_ok=True)
        except OSError as e:
            raise OutputError(f"{folder} cannot be made: {e.strerror or e}") from e

    def add(self, job: Job, outcome: Outcome) -> None:
        """Take what came of one clip."""
        if outcome.facts is None:
            self.refuse(job.source, outcome.reason)
        else:
            self.clips[job.source.name] = outcome.facts
            self.kept += outcome.kept
        self.write()

    def refuse(self, source: Source, reason: str) -> None:
        """Note that a clip is not in the dataset; not yet written."""
        self._refused[source.name] = Refusal(source.label, " ".join(reason.split()))

    def facts(self) -> tuple[ClipFacts, ...]:
        """Sorted by name."""
        return tuple(self.clips[name] for name in sorted(self.clips))

    def refusals(self) -> tuple[Refusal, ...]:
        """Sorted by the name their shards would have."""
        return tuple(self._refused[name] for name in sorted(self._refused))

    def write(self, complete: bool = False) -> None:
        """Write both files. complete: False as long as clips may be missing."""
        refused = [asdict(r) for r in self.refusals()]
        values: dict[str, Any] = {
            "schema": SCHEMA,
            "complete": complete,
            "quality": self.settings.quality,
            "frames_per_person": self.settings.frames,
            "face_model": self.face_model,
            "validation": sorted(self.validation),
            "clips": [asdict(c) for c in self.facts()],
            "refused": refused,
        }
        table = io.StringIO()
        writer = csv.DictWriter(table, ("clip", "reason"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(refused)
        write_text(self.folder / REFUSED, table.getvalue())
        write_json(self.folder / INDEX, values)
