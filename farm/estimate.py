"""What a job costs: minutes and memory of its tasks, from measured rates, and the length of a chunk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from farm.job import JobShot
from farm.template_limits import LEAST_FRAMES, MOST_FRAMES
from visualdub.actor.package import Actor
from visualdub.dub import Output, dialogue_performance, prepare_render, shot_audio, track_shot
from visualdub.edit.shot import DialogueCue, Shot
from visualdub.face.recognise import only_frames_of
from visualdub.media.movie_writer import MovieWriter
from visualdub.stages import Progress, StageClock, peak_memory_mib
from visualdub.timing import FrameRange

SHARE = 0.15  # of a chunk's time that may go into starting up and into frames that are thrown away
WARM_UP = 10  # frames that a chunk draws beyond its own: windows of the network, the compositor's reach
MEASURED = 24  # frames that a measurement renders
HEADROOM = 1.5  # times the memory that was measured
GPU_MEMORY_MIB = 4096  # asked for where the network runs on a GPU: its weights, and a window of activations


@dataclass(frozen=True)
class Rates:
    """How fast one machine is, each rate of one task alone.

    The defaults are for two CPU cores, a small network. Rendering, the network and tracking (halved, as the
    search for what covers the mouth is a second pass) are those of docs/results; the others are round figures
    until `measure` replaces them.
    """

    track: float = 12.0  # frames/s: track, what covers the mouth, performance
    render: float = 3.4  # frames/s of the whole pipeline with the network on the CPU
    network_s: float = 0.097  # seconds a frame that the network takes of it
    movie: float = 20.0  # frames/s: restore and encode
    start_s: float = 8.0  # seconds of a task before its first frame
    memory_mib: float = 1100.0  # most that a task held
    frame_bytes: float = 260_000.0  # of a rendered frame as a chunk keeps it

    @property
    def render_on_gpu(self) -> float:
        """Frames/s at most with the network on a GPU: all but the network stays on the CPU, and its time is
        taken to be nothing. It is reckoned, not measured.
        """
        return 1 / max(1e-3, 1 / self.render - self.network_s)


@dataclass(frozen=True)
class Cost:
    """What a job takes. frames: that are rendered; longest: of one shot."""

    frames: int
    shots: int
    longest: int
    chunk: int  # frames
    gpu: bool
    rates: Rates
    gpu_memory_mib: int = GPU_MEMORY_MIB

    def prepare_s(self, frames: int) -> float:
        """Seconds to prepare a shot of so many frames."""
        return self.rates.start_s + frames / self.rates.track

    def render_s(self, frames: int, gpu: bool | None = None) -> float:
        """Seconds to render a chunk of so many frames, those that are thrown away included."""
        fast = self.gpu if gpu is None else gpu
        rate = self.rates.render_on_gpu if fast else self.rates.render
        return self.rates.start_s + (frames + WARM_UP) / rate

    def movie_s(self, frames: int) -> float:
        """Seconds to write the movie of a shot."""
        return self.rates.start_s + frames / self.rates.movie

    def memory_mib(self, what: str) -> int:
        """Memory to ask for."""
        return round(HEADROOM * self.rates.memory_mib)

    def as_dict(self) -> dict[str, Any]:
        """As JSON: times of one task, and of all tasks one after another on one machine."""
        chunk = min(self.chunk, self.longest)
        chunks = self.frames / max(1, chunk)
        return {
            "frames": self.frames,
            "shots": self.shots,
            "chunk_frames": chunk,
            "chunks": round(chunks),
            "chunk_minutes_cpu": round(self.render_s(chunk, gpu=False) / 60, 2),
            "chunk_minutes_gpu_at_least": round(self.render_s(chunk, gpu=True) / 60, 2),
            "prepare_minutes": round(self.prepare_s(self.frames // max(1, self.shots)) / 60, 2),
            "movie_minutes": round(self.movie_s(self.frames // max(1, self.shots)) / 60, 2),
            "machine_minutes_cpu": round(self._all_s(False) / 60, 1),
            "machine_minutes_gpu_at_least": round(self._all_s(True) / 60, 1),
            "memory_mib": self.memory_mib("render"),
            "gpu": self.gpu,
            "storage_mib": round(self.frames * self.rates.frame_bytes / 2**20, 1),
            "rates": asdict(self.rates),
        }

    def _all_s(self, gpu: bool) -> float:
        chunk = min(self.chunk, self.longest)
        mean = self.frames / max(1, self.shots)
        rendering = self.frames / max(1, chunk) * self.render_s(chunk, gpu)
        return rendering + self.shots * (self.prepare_s(round(mean)) + self.movie_s(round(mean)))


def cost_of(shots: Sequence[JobShot], rates: Rates, gpu: bool, chunk: int | None = None) -> Cost:
    """What the shots of a job cost. chunk: frames of one; None: as `chunk_length` has it."""
    counts = [s.frame_count for s in shots]
    length = chunk or chunk_length(rates, gpu)
    return Cost(sum(counts), len(counts), max(counts), min(length, MOST_FRAMES), gpu, rates)


def chunk_length(rates: Rates, gpu: bool) -> int:
    """Frames of a chunk, so that start-up and thrown-away frames take no more than `SHARE` of its time."""
    rate = rates.render_on_gpu if gpu else rates.render
    lost = rates.start_s + WARM_UP / rate
    frames = round(lost * (1 - SHARE) / SHARE * rate)
    return max(LEAST_FRAMES, min(frames, MOST_FRAMES))


# ---- measuring ---------------------------------------------------------------------------------------------


def measure(shot: Shot, person: str | None, actor: Actor, words: Path | None, folder: Path) -> Rates:
    """The rates of this machine, from the first frames of a shot. words: a recording that is spoken; None:
    the clip's own sound. folder: where a movie is written that is thrown away.
    """
    begun = time.perf_counter()
    start = shot.frames.start
    frames = FrameRange(start, min(start + MEASURED, shot.frames.end_exclusive))
    part = shot.trim(frames).with_cue(DialogueCue(words or shot.source))
    tracked = track_shot(part, person, Progress(), actor.likeness if person is None else None)
    tracked = replace(tracked, track=only_frames_of(tracked.track, actor.likeness))
    performance, _ = dialogue_performance(replace(tracked, shot=part), shot_audio(part), actor)
    prepared = prepare_render(tracked, performance, actor, Output(folder / "measured.mkv"))
    prepare_s = time.perf_counter() - begun
    clock = prepared.renderer.clock = StageClock()
    loading = time.perf_counter()
    next(iter(prepared.renderer.frames(FrameRange(start, start + 1))))
    start_s = time.perf_counter() - loading
    begun = time.perf_counter()
    clock.stages.clear()
    finished = list(prepared.renderer.frames())
    render_s = time.perf_counter() - begun
    network = clock.stages.get("render")
    begun = time.perf_counter()
    with MovieWriter(folder / "measured.mkv", shot.info.part(frames), "ffv1") as writer:
        for frame in finished:
            writer.write(frame.frame)
    movie_s = time.perf_counter() - begun
    count = len(finished)
    return Rates(
        track=count / max(1e-6, prepare_s),
        render=count / max(1e-6, render_s),
        network_s=min(0.0 if network is None else network.seconds / count, 0.95 * render_s / count),
        movie=count / max(1e-6, movie_s),
        start_s=start_s + IMPORT_S,
        memory_mib=peak_memory_mib(),
    )


IMPORT_S = 4.0  # seconds that a process takes to load the libraries, beside the models
