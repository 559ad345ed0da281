"""`vdub track`: reconstruction only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from visualdub.console import Clip, Face, Frames, Json, out, print_json, shown_progress
from visualdub.stages import Progress

if TYPE_CHECKING:
    from visualdub.face.track import Track


@dataclass
class Pace:
    """Tells start-up from work: the first frame ends the start-up."""

    begun: float
    first: float | None = None
    first_done: int = 0

    def watch(self, progress: Progress) -> Progress:
        """A progress that reports to `progress`, with the time of its first report noted."""

        def note(stage: str, done: int, total: int) -> None:
            if self.first is None and done > 0 and stage == "tracking":
                self.first, self.first_done = time.perf_counter(), done
            progress.report(stage, done, total)

        return Progress(note)

    def split(self, frame_count: int) -> tuple[float, float]:
        """Seconds of start-up (first frame included), frames/s after it."""
        now = time.perf_counter()
        first = self.first or now
        return first - self.begun, (frame_count - self.first_done) / max(now - first, 1e-9)


def command(
    clip: Clip,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="TRACK.npz",
            help="Where the track goes; beside nothing else is written. CLIP.track.npz here by default.",
        ),
    ] = None,
    frames: Frames = None,
    face: Face = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            "--overlay", metavar="MOVIE", help="Also write a movie that shows mesh, box, mask and confidence."
        ),
    ] = None,
    people: Annotated[
        bool,
        typer.Option("--people", help="List who is where, and write a PNG with a picture of each."),
    ] = False,
    people_sheet: Annotated[
        Path | None,
        typer.Option("--people-sheet", metavar="PNG", help="Where --people writes its pictures."),
    ] = None,
    json: Json = False,
) -> None:
    """Track the face of a clip: landmarks, pose, identity, expression, jaw and confidence for every frame."""
    from visualdub.face.quality import track_figures
    from visualdub.face.sheet import people_of
    from visualdub.face.tracker import track_clip
    from visualdub.media.movie_writer import choose_codec
    from visualdub.stages import StageClock
    from visualdub.storage import protect, require_writable
    from visualdub.timing import FrameRange

    target = output or Path(f"{clip.stem}.track.npz")
    pictures = people_sheet or (sheet_beside(target) if people else None)
    protect([clip], [target, overlay, pictures])
    for path in (target, overlay, pictures):
        if path is not None:
            require_writable(path)
    if overlay is not None:
        choose_codec(overlay)
    pace, clock = Pace(time.perf_counter()), StageClock()
    with shown_progress() as progress:
        track = track_clip(
            clip, FrameRange.parse(frames) if frames else None, face, pace.watch(progress), clock
        )
    start_up, rate = pace.split(len(track))
    track.save(target)
    if overlay is not None:
        write_overlay(clip, track, overlay)
    if pictures is not None:
        write_sheet(clip, track, pictures)
    figures = track_figures(track)
    values: dict[str, object] = {
        "track": str(target),
        "overlay": str(overlay) if overlay else None,
        "frames": len(track),
        "usable": int(track.usable.sum()),
        "start_up_seconds": round(start_up, 2),
        "frames_per_second": round(rate, 1),
        "mediapipe_alone_frames_per_second": clock.as_dict()["mediapipe"]["fps"],
        "cuts": list(track.cuts),
        "pixel_aspect": str(track.pixel_aspect),
        **figures,
    }
    if pictures is not None:
        values |= {"people_sheet": str(pictures), "people": [p.as_dict() for p in people_of(track)]}
    if json:
        print_json(values)
        return
    out.print(
        f"{target}: {values['usable']} of {len(track)} frames tracked, {rate:.1f} frames/s after"
        f" {start_up:.2f} s start-up"
    )
    out.print(
        f"  MediaPipe alone, its start-up included: {values['mediapipe_alone_frames_per_second']} frames/s"
    )
    if track.pixel_aspect != 1:
        out.print(f"  pixels of {track.pixel_aspect.numerator}:{track.pixel_aspect.denominator}, made square")
    if track.cuts:
        out.print(f"  cuts before frames {', '.join(map(str, track.cuts))}")
    for key, value in figures.items():
        out.print(f"  {key.replace('_', ' ')}: {value}")
    if pictures is not None:
        out.print(people_table(track))
        out.print(f"{pictures}: a picture of each; --face takes their numbers")


def sheet_beside(target: Path) -> Path:
    """Where the pictures of the people of the track `target` go."""
    return target.with_name(f"{target.name.removesuffix('.npz').removesuffix('.track')}.people.png")


def write_sheet(clip: Path, track: Track, path: Path) -> None:
    """Write a picture of everybody in `track` as one PNG, whole or not at all."""
    from PIL import Image

    from visualdub.face.sheet import people_of, people_sheet
    from visualdub.storage import atomic_path

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        Image.fromarray(people_sheet(clip, people_of(track), track.pixel_aspect)).save(file, "PNG")


def people_table(track: Track) -> Table:
    """Who is where in a track, one row for each person."""
    from visualdub.face.sheet import people_of

    table = Table("person", "frames", "share", "where", box=None)
    for person in people_of(track):
        tracked = " (tracked)" if person.number == track.person else ""
        share = f"{100 * person.share:.1f} %"
        table.add_row(f"{person.number}{tracked}", str(person.frames), share, ", ".join(person.ranges))
    return table


def write_overlay(clip: Path, track: Track, output: Path) -> None:
    """The clip's tracked frames, with square pixels, with the reconstruction drawn over them."""
    from visualdub.face.crop import stable_crop
    from visualdub.face.overlay import draw_overlay
    from visualdub.media.movie_writer import MovieWriter, picture_info, rgb_frame
    from visualdub.media.source import open_source
    from visualdub.media.square import square_pixels, square_size
    from visualdub.media.yuv import frame_rgb

    aspect = track.pixel_aspect
    info = picture_info(output, *square_size(*track.size, aspect), track.rate, len(track))
    crop = stable_crop(track)
    with shown_progress() as progress, open_source(clip) as source, MovieWriter(output, info) as writer:
        for i, frame in enumerate(source.frames(track.frames)):
            rgb = square_pixels(frame_rgb(frame), aspect)
            writer.write(rgb_frame(draw_overlay(rgb, track, crop, i), info.image, i))
            progress.report("overlay", i + 1, len(track))
