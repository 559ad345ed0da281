"""`vdub train prepare`: clips are found, tracked, cropped and packed into one shard each, several at a time.

A shard records how it was made and from what, with a checksum. A later run reuses every shard that is whole
and was made in the same way, and makes the others again; this is how a stopped run resumes. A clip that
cannot be used is refused and listed with the reason in `dataset.json` and `refused.csv`, and the run
continues. The next run tries refused clips again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.discover import find_sources
from training.data.frames import clip_mels, lips_box
from training.data.packed import (
    INDEX,
    RATE,
    SCHEMA,
    SUFFIX,
    ClipFacts,
    Dataset,
    ShardPictures,
    read_whole,
    thinned,
    write_shard,
)
from training.data.sources import FaceArea, Source
from training.data.splits import LEAST, check_validation, share_frames
from training.data.workers import Workers, add_work
from visualdub.errors import BadInput, Interrupted, MediaError, NoFace, OutputError
from visualdub.face.crop import SIZE, stable_crop, warp_crop
from visualdub.face.models import DEFAULT_FACE_MODEL
from visualdub.face.track import Track
from visualdub.media.frame import SQUARE
from visualdub.media.source import open_source, probe
from visualdub.media.square import square_size
from visualdub.media.yuv import frame_rgb
from visualdub.speech.sync import trusted_offset
from visualdub.stages import Progress
from visualdub.storage import content_hash, require_writable, write_json, write_text
from visualdub.timing import FrameRange

# A clip of up to this many frames is tracked from end to end, as `vdub dub` does, and shares that track.
WHOLE = 3000
# Seconds that a published excerpt may end after its video; more, and the video was edited differently.
OVERRUN = 1.0
REFUSED = "refused.csv"


@dataclass(frozen=True)
class Part:
    """One of several parts of the clips, which different machines may pack at once into one dataset."""

    number: int  # from 1 to `count`
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """The part of a text such as 2/8. Raises `BadInput` for any other."""
        number, slash, count = text.partition("/")
        if slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise BadInput(f"--part {text} is none of several parts; expected one such as 2/8")


@dataclass(frozen=True)
class Settings:
    """The settings of a dataset."""

    frames: int = 1500  # most frames of one person, at 25 frames/s
    quality: int = 90  # of WebP, 1..100
    validation: tuple[str, ...] = ()  # speakers held out of the training
    jobs: int = 1  # processes
    part: Part | None = None  # None: all clips, and the index that names them

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
class PreparedDataset:
    """The dataset as a run left it."""

    clips: tuple[ClipFacts, ...]
    refused: tuple[Refusal, ...]
    reused: int  # clips whose shards an earlier run had made
    notes: tuple[str, ...]  # one line each, for the user


# ---- one clip ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packing:
    """How a clip becomes a shard."""

    split: str  # "train" or "validation"
    most: int  # frames to pack
    quality: int  # of WebP, 1..100
    recipe: str = ""  # see `write_shard`


def pack_clip(
    source: Source, track: Track, folder: Path, packing: Packing, progress: Progress | None = None
) -> ClipFacts:
    """Write the shard of one clip and return its entry of the index.

    track: of consecutive frames of the source. Its listed A/V offset is used where none can be measured
    (lists are rounded, and made with decoders that start the sound elsewhere). Raises `NoFace` where fewer
    than `LEAST` frames are usable.
    """
    path, audible = source.path, source.speaker_audible
    crop = stable_crop(track)
    thin, rows = thinned(track, packing.most)
    if thin.usable.sum() < LEAST:
        raise NoFace(
            f"{path.name}: {int(thin.usable.sum())} frames with a usable face; expected {LEAST} or more"
        )
    affine = crop.affine[rows]
    mouth = np.zeros((len(rows), 4), np.int32)
    for i in np.flatnonzero(thin.usable):
        mouth[i] = lips_box(thin.landmarks[i], affine[i], SIZE)
    offset_ms = _av_offset(path, track, source.av_offset_ms) if audible else None
    mels = clip_mels(path, track, (offset_ms or 0.0) / 1000) if audible else None
    mel = None if mels is None else mels[rows]
    crops = _crops(path, track, thin.usable, crop.stored_affine[rows], rows, progress)
    pictures = ShardPictures(crops, affine, mouth)
    shard = folder / f"{source.name}{SUFFIX}"
    write_shard(shard, thin, pictures, mel, packing.quality, packing.recipe, offset_ms)
    return _facts(
        source.name,
        source.speaker,
        packing.split,
        track.source_hash,
        thin.usable,
        affine,
        mel is not None,
        offset_ms,
    )


def _av_offset(path: Path, track: Track, listed_ms: float | None) -> float | None:
    """Ms by which the audio leads the video: measured, or else as listed."""
    measured, _ = trusted_offset(path, track)
    return listed_ms if measured is None else round(1000 * measured)


def _crops(
    path: Path,
    track: Track,
    usable: NDArray[np.bool_],
    affine: NDArray[np.float64],
    rows: NDArray[np.int64],
    progress: Progress | None,
) -> Iterator[NDArray[np.uint8]]:
    """The crops (S, S, 3) of the track's frames `rows` (ascending), one by one; black where there is no
    face. affine: (len(rows), 2, 3) of `Crop.stored_affine`.
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
    """A clip as it is known before it is tracked."""

    frames: FrameRange  # that the dataset may use
    rate: Fraction
    size: tuple[int, int]  # width, height in square pixels
    source_hash: str
    pixel_aspect: Fraction = SQUARE  # width / height of a pixel

    @property
    def packable(self) -> int:
        """The number of its frames at `RATE`."""
        return int(len(self.frames) * min(self.rate, RATE) / self.rate)


@dataclass(frozen=True)
class ShardJob:
    """One shard to make, or to reuse."""

    source: Source
    survey: Survey
    split: str
    most: int  # frames to pack
    quality: int
    face_model: str
    folder: Path

    @property
    def tracked(self) -> FrameRange:
        """The frames to track: all of a short clip, otherwise as many as are packed."""
        frames = self.survey.frames
        if self.source.seconds is None and len(frames) <= WHOLE:
            return frames
        needed = ceil(self.most * self.survey.rate / min(self.survey.rate, RATE))
        return FrameRange(frames.start, min(frames.end_exclusive, frames.start + needed))

    def recipe(self) -> str:
        """Everything that the shard's bytes depend on besides the source, the quality and the face model.

        Its keys are those of the first version, so that shards of earlier versions are reused.
        """
        area = asdict(self.source.area) if self.source.area else None
        aspect = self.survey.pixel_aspect  # earlier versions took pixels for square and did not name it
        unusual = {} if aspect == SQUARE else {"pixel_aspect": str(aspect)}
        return json.dumps(
            unusual
            | {
                "most": self.most,
                "tracked": str(self.tracked),
                "area": area,
                "own_sound": self.source.speaker_audible,
                "av_offset_ms": self.source.av_offset_ms,
            }
        )

    def reusable(self) -> ClipFacts | None:
        """The facts of the shard that an earlier run made; None where it has to be made."""
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
    """The result of a job."""

    facts: ClipFacts | None
    reason: str = ""  # why there is no shard
    reused: bool = False  # an earlier run had made the shard


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
                    f"the excerpt ends at {source.seconds[1]} s, the video after {length:.1f} s; "
                    "it is not the video that was annotated"
                )
            frames = FrameRange(start, min(end, info.frame_count))
        image = info.image
        size = square_size(image.width, image.height, image.pixel_aspect)
        return Survey(frames, info.rate, size, content_hash(source.path), image.pixel_aspect)
    except BadInput as e:
        return str(e)


def _make(job: ShardJob) -> Outcome:
    """Reuse or make one shard."""
    work = _Share(job.most)
    reusable = job.reusable()
    if reusable is not None:
        work.done(1)
        return Outcome(reusable, reused=True)
    source = job.source
    try:
        track = _track(job, Progress(work.tracked))
        facts = pack_clip(
            source,
            track,
            job.folder,
            Packing(job.split, job.most, job.quality, job.recipe()),
            Progress(lambda _, done, total: work.done(0.5 + done / total / 2)),
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

    def tracked(self, stage: str, done: int, total: int) -> None:
        """Take a report of the tracking; what goes before it, such as hashing, is no share of the work."""
        self.done(done / total / 2 if stage == "tracking" else 0.0)

    def done(self, share: float) -> None:
        """Report that `share` (0..1) is done. Raises `Interrupted` once the pool is being stopped."""
        further = max(0.0, share - self._done)
        self._done += further
        add_work(further * self._frames)


def _track(job: ShardJob, progress: Progress) -> Track:
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
) -> PreparedDataset:
    """Pack the clips of `folders` into the dataset `output`, or go on with it.

    progress: gets the stages "examining", in clips, and "packing", in frames. Raises `BadInput` where nothing
    can be packed, where a speaker of the validation list has no clip and where `output` holds something else;
    `Interrupted` once `progress` was cancelled: the clips that are finished stay in the dataset. Of a part,
    only shards are made, maybe none: packing all clips afterwards finds them and writes the index.
    """
    progress = progress or Progress()
    sources = find_sources(folders)
    validation = check_validation(sources, settings.validation)
    require_dataset_folder(output)
    index = _Index(output, settings, validation)
    try:
        with Workers(min(settings.jobs, len(sources))) as workers:
            jobs = _plan(sources, workers, index, progress)
            if settings.part is not None:
                jobs = jobs[settings.part.number - 1 :: settings.part.count]
            total = sum(job.most for job in jobs)

            def report(done: float) -> None:
                progress.report("packing", min(round(done), total), total)

            for job, outcome in workers.run(_make, jobs, progress, report):
                index.add(job, outcome)
    except Interrupted:
        raise Interrupted(
            f"stopped; {len(index.clips)} of {len(sources)} clips are packed in {output}; "
            "the same command goes on from there"
        ) from None
    if settings.part is not None:
        return PreparedDataset(index.facts(), index.refusals(), index.reused, ())
    index.write(complete=True)
    if not index.clips:
        first = index.refusals()[0]
        raise BadInput(
            f"none of {len(sources)} clips could be packed ({first.clip}: {first.reason}); "
            f"expected clips of people talking; all reasons are listed in {output / REFUSED}"
        )
    return PreparedDataset(index.facts(), index.refusals(), index.reused, tuple(_notes(index)))


def require_dataset_folder(output: Path) -> None:
    """Raise `BadInput` where `output` holds anything but a dataset, `OutputError` where nothing can be
    written there.
    """
    if not output.exists():
        require_writable(output)
        return
    if not output.is_dir():
        raise OutputError(f"{output} is a file; expected a new folder, or a dataset to go on with")
    there = any(not p.name.startswith(".") for p in output.iterdir())  # but what another part is writing
    if there and not (output / INDEX).is_file():
        raise BadInput(
            f"{output} is not empty and no dataset (it holds no {INDEX}); expected a new folder, or a dataset"
            " to go on with"
        )
    if there:
        Dataset(output)
    require_writable(output / INDEX)


def _plan(sources: Sequence[Source], workers: Workers, index: _Index, progress: Progress) -> list[ShardJob]:
    """The shards to make. Every other clip is refused here."""
    people: dict[str, list[tuple[Source, Survey]]] = {}
    surveyed: dict[Source, Survey | str] = {}
    wanted = [s for s in sources if not s.refused]
    for source, survey in workers.run(_survey, wanted, progress):
        surveyed[source] = survey
        progress.report("examining", len(surveyed), len(wanted))
    first_use: dict[tuple[str, FrameRange], Source] = {}
    # Validation speakers come first, so that a copy of one of their clips does not get into the training.
    for source in sorted(sources, key=lambda s: (s.speaker not in index.validation, s.name)):
        survey = surveyed.get(source, source.refused)
        if isinstance(survey, str):
            index.refuse(source, survey)
        elif (other := first_use.setdefault((survey.source_hash, survey.frames), source)) is not source:
            index.refuse(source, f"the same pictures as {other.label}")
        elif survey.packable < LEAST:
            index.refuse(source, f"{survey.packable} frames at {RATE} frames/s; expected {LEAST} or more")
        else:
            people.setdefault(source.speaker, []).append((source, survey))
    jobs = []
    for speaker, clips in sorted(people.items()):
        split = "validation" if speaker in index.validation else "train"
        shares = share_frames([survey.packable for _, survey in clips], index.settings.frames)
        for (source, survey), most in zip(clips, shares, strict=True):
            if most:
                jobs.append(
                    ShardJob(
                        source, survey, split, most, index.settings.quality, index.face_model, index.folder
                    )
                )
            else:
                index.refuse(source, f"not needed: {speaker} has {sum(shares)} frames in other clips")
    index.write()
    return jobs


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
        yield f"none of their clips could be packed, though held out for validation: {', '.join(lost)}"
    listed = {c.name for c in facts}
    others = sorted(
        p.name for p in index.folder.glob(f"*{SUFFIX}") if p.name.removesuffix(SUFFIX) not in listed
    )
    if others:
        yield (
            f"{len(others)} shards of clips that are no longer in the dataset are in {index.folder}, unused:"
            f" {others[0]}" + (", ..." if len(others) > 1 else "")
        )


class _Index:
    """The dataset's files besides its shards, written again after every clip."""

    def __init__(self, folder: Path, settings: Settings, validation: frozenset[str]) -> None:
        self.folder, self.settings, self.validation = folder, settings, validation
        self.face_model = DEFAULT_FACE_MODEL
        self.clips: dict[str, ClipFacts] = {}
        self.reused = 0
        self._refused: dict[str, Refusal] = {}
        try:
            folder.mkdir(exist_ok=True)
        except OSError as e:
            raise OutputError(f"{folder} cannot be made: {e.strerror or e}") from e

    def add(self, job: ShardJob, outcome: Outcome) -> None:
        """Enter the outcome of one clip and write the files."""
        if outcome.facts is None:
            self.refuse(job.source, outcome.reason)
        else:
            self.clips[job.source.name] = outcome.facts
            self.reused += outcome.reused
        self.write()

    def refuse(self, source: Source, reason: str) -> None:
        """Enter that a clip is not in the dataset; the files are written later."""
        self._refused[source.name] = Refusal(source.label, " ".join(reason.split()))

    def facts(self) -> tuple[ClipFacts, ...]:
        """Sorted by name."""
        return tuple(self.clips[name] for name in sorted(self.clips))

    def refusals(self) -> tuple[Refusal, ...]:
        """Sorted by the name their shards would have."""
        return tuple(self._refused[name] for name in sorted(self._refused))

    def write(self, complete: bool = False) -> None:
        """Write both files, of a part only where there are none. complete: False while clips may be
        missing.
        """
        if self.settings.part is not None and (self.folder / INDEX).exists():
            return
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
        write_json(self.folder / INDEX, values)
        write_text(self.folder / REFUSED, table.getvalue())
