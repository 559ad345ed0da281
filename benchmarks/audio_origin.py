"""Whether a dub's mouth and soundtrack hear a dialogue at the same time, to the sample, whatever container,
codec and start time the dialogue has; and where a clip's own sound is heard against its first frame.

A known signal is encoded into every combination. The sound that the mouth is predicted from is compared with
the sound of the written movie, which is decoded here by its stamps alone.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.audio.stream
import av.video.stream
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, correlate, resample_poly, sosfilt

from visualdub.dub import AUDIO_RATE
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.audio import read_audio
from visualdub.media.frame import ClipInfo
from visualdub.media.movie_writer import AudioSource, Codec, MovieWriter, picture_info, rgb_frame
from visualdub.media.soundtrack import AudioPacket
from visualdub.media.source import open_source

RATE = 48000  # samples per second of the signal
FRAME_RATE = Fraction(25)
FRAMES, WIDTH, HEIGHT = 60, 64, 48
LONGEST_LAG_S = 1.6
OUTPUTS = (".mkv", ".mov", ".mp4")
Signal = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One way of storing a sound."""

    suffix: str  # of the file, which says the container
    codec: str  # FFmpeg's name of the encoder
    sound_s: Fraction = Fraction(0)  # stamp of the first sample
    picture_s: Fraction | None = None  # stamp of the first frame; None: no pictures
    declared: bool = True  # whether the container of a clip tells the encoder's delay or allows for it

    @property
    def name(self) -> str:
        """Container, codec and starts in a few words."""
        picture = "" if self.picture_s is None else f", picture at {float(self.picture_s):g} s"
        return f"{self.suffix[1:]} {self.codec}, sound at {float(self.sound_s):g} s{picture}"


def recordings() -> list[Case]:
    """Dialogue without pictures."""
    plain = [
        *((".wav", "pcm_s16le"), (".wav", "pcm_f32le"), (".flac", "flac"), (".aiff", "pcm_s16be")),
        *((".mp3", "libmp3lame"), (".aac", "aac"), (".ac3", "ac3"), (".ogg", "libopus")),
        *((".caf", "pcm_s24le"), (".w64", "pcm_s16le"), (".eac3", "eac3"), (".mp2", "mp2")),
    ]
    late = [
        *((".m4a", "aac"), (".m4a", "alac"), (".mka", "aac"), (".mka", "libopus"), (".mka", "flac")),
        *((".mka", "libmp3lame"), (".mka", "pcm_s16le"), (".ts", "aac"), (".ts", "ac3"), (".ts", "mp2")),
        *((".mov", "pcm_s24le"), (".mp4", "libopus")),
    ]
    starts = (Fraction(0), Fraction(1, 2))
    return [Case(*c) for c in plain] + [Case(*c, start) for c in late for start in starts]


def clips() -> list[Case]:
    """Movies, whose sound starts with, before or after the first frame."""
    kinds = [
        *((".mp4", "aac"), (".mkv", "aac"), (".mkv", "pcm_s16le"), (".mov", "pcm_s16le"), (".ts", "aac")),
        *((".mkv", "libopus"), (".mp4", "libmp3lame")),
    ]
    starts = ((Fraction(0), Fraction(0)), (Fraction(2, 5), Fraction(0)), (Fraction(0), Fraction(2, 5)))
    return [Case(suffix, codec, s, p) for suffix, codec in kinds for s, p in starts] + [
        Case(".avi", "libmp3lame", Fraction(0), Fraction(0), declared=False),
        Case(".avi", "pcm_s16le", Fraction(0), Fraction(0)),
    ]


# ---- making the inputs -------------------------------------------------------------------------------------


def known_signal() -> Signal:
    """1.2 s of noise between 200 and 5000 Hz that swells and fades, after 0.3 s of silence."""
    rng = np.random.default_rng(12)
    noise = sosfilt(butter(4, [200, 5000], "bandpass", fs=RATE, output="sos"), rng.normal(size=6 * RATE // 5))
    swell = np.sin(np.linspace(0, 9 * np.pi, len(noise))) ** 2
    parts = [np.zeros(3 * RATE // 10), 0.3 * noise * swell, np.zeros(RATE // 10)]
    return np.asarray(np.concatenate(parts), np.float32)


def encode(path: Path, case: Case, signal: Signal) -> Path:
    """The signal as `case` has it, by FFmpeg alone."""
    with av.open(str(path), "w") as container:
        video = _video(container) if case.picture_s is not None else None
        audio = cast(av.audio.stream.AudioStream, container.add_stream(case.codec, rate=RATE, layout="mono"))
        if video is not None:
            for picture in _pictures(video, case.picture_s or Fraction(0)):
                container.mux(picture)
        for packet in _sounds(audio, signal, round(case.sound_s * RATE)):
            container.mux(packet)
    return path


def _video(container: av.container.OutputContainer) -> av.video.stream.VideoStream:
    stream = container.add_stream("mpeg4", rate=FRAME_RATE)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    return stream


def _pictures(
    stream: av.video.stream.VideoStream, start_s: Fraction
) -> Iterator[av.Packet[av.video.stream.VideoStream]]:
    for i in range(FRAMES):
        grey = np.full((HEIGHT, WIDTH, 3), 60 + 2 * i, np.uint8)
        picture = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = i + round(start_s * FRAME_RATE), 1 / FRAME_RATE
        yield from stream.encode(picture)
    yield from stream.encode(None)


def _sounds(stream: av.audio.stream.AudioStream, signal: Signal, start: int) -> Iterator[AudioPacket]:
    resampler = av.AudioResampler(stream.format.name, "mono", RATE, frame_size=1024)
    block = av.AudioFrame.from_ndarray(signal[None], format="fltp", layout="mono")
    block.sample_rate, block.pts, block.time_base = RATE, 0, Fraction(1, RATE)
    for part in (*resampler.resample(block), *resampler.resample(None)):
        part.pts = (part.pts or 0) + start
        yield from stream.encode(part)
    yield from stream.encode(None)


# ---- measuring ---------------------------------------------------------------------------------------------


def heard(movie: Path) -> Signal:
    """The sound of a movie at RATE from its first frame on, placed by the stamps of its first frame and
    first block of samples.
    """
    with av.open(str(movie)) as container:
        picture = next(container.decode(video=0))
        shown_s = (picture.pts or 0) * (picture.time_base or Fraction(1))
    with av.open(str(movie)) as container:
        blocks = [b for b in container.decode(audio=0) if b.samples]
    resampler = av.AudioResampler("fltp", "mono", RATE)
    start = round(((blocks[0].pts or 0) * (blocks[0].time_base or Fraction(1)) - shown_s) * RATE)
    parts = [b.to_ndarray()[0] for block in [*blocks, None] for b in resampler.resample(block)]
    sound = np.concatenate(parts)
    return sound[-start:] if start < 0 else np.concatenate([np.zeros(start, np.float32), sound])


def lag(later: Signal, earlier: Signal) -> int:
    """Samples that `later` comes after `earlier`."""
    reach = round(LONGEST_LAG_S * RATE)
    size = max(len(later), len(earlier), reach + 1)
    a, b = (np.pad(x.astype(np.float64), (0, size - len(x))) for x in (later, earlier))
    found = correlate(a, b, "full", "fft")[size - 1 - reach : size + reach]
    return int(found.argmax()) - reach


def mouth_sound(path: Path) -> Signal:
    """What the mouth is predicted from, brought to RATE."""
    return np.asarray(resample_poly(read_audio(path, AUDIO_RATE), RATE // AUDIO_RATE, 1), np.float32)


def write_movie(path: Path, source: AudioSource) -> Path:
    """A short movie with the sound of `source`, as a dub writes it."""
    info: ClipInfo = picture_info(path, WIDTH, HEIGHT, FRAME_RATE, FRAMES)
    codec = {".mkv": "ffv1", ".mov": "prores", ".mp4": "h264"}[path.suffix]
    with MovieWriter(path, info, Codec(codec, preset="ultrafast"), source) as writer:
        for i in range(FRAMES):
            writer.write(rgb_frame(np.full((HEIGHT, WIDTH, 3), 60 + i, np.uint8), info.image, i))
    return path


def copied_clip(path: Path, clip: Path) -> Path:
    """The pictures and the own sound of a clip, as a dub without dialogue writes them."""
    with (
        open_source(clip) as source,
        MovieWriter(path, source.info, Codec("h264", preset="ultrafast"), AudioSource(clip)) as w,
    ):
        for frame in source.frames():
            w.write(frame)
    return path


def measure_recording(folder: Path, case: Case, signal: Signal) -> dict[str, int]:
    """Lags in samples at RATE: of the mouth's sound after the signal, and of each movie's after the
    mouth's.
    """
    path = encode(folder / f"dialogue{case.suffix}", case, signal)
    mouth = mouth_sound(path)
    offset = 0 if case.picture_s is None else round((case.sound_s - case.picture_s) * RATE)
    lags = {"signal": lag(mouth, signal) - offset}
    for suffix in OUTPUTS:
        movie = write_movie(folder / f"out{suffix}", AudioSource(path, recording=True))
        lags[suffix] = lag(heard(movie), mouth)
    return lags


def measure_clip(folder: Path, case: Case, signal: Signal) -> dict[str, int]:
    """Lags in samples at RATE of a clip's own sound after where its stamps place it: as the project hears it,
    and in copies.
    """
    path = encode(folder / f"clip{case.suffix}", case, signal)
    offset = round((case.sound_s - (case.picture_s or 0)) * RATE)
    lags = {"signal": lag(mouth_sound(path), signal) - offset}
    for suffix in (".mkv", ".mp4"):
        lags[suffix] = lag(heard(copied_clip(folder / f"copy{suffix}", path)), signal) - offset
    return lags


# ------------------------------------------------------------------------------------------------------------


def main() -> None:
    """A line per combination, then the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    signal = known_signal()
    rows, own, worst, worst_own = [], [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for case in [*recordings(), *clips()]:
            lags = measure_recording(Path(folder), case, signal)
            worst = max(worst, *(abs(lags[suffix]) for suffix in OUTPUTS))
            rows.append((case.name, *lags.values()))
            print("dialogue:", *rows[-1], sep="  ", flush=True)
        for case in clips():
            lags = measure_clip(Path(folder), case, signal)
            if case.declared:
                worst_own = max(worst_own, *map(abs, lags.values()))
            own.append((case.name, *lags.values()))
            print("own sound:", *own[-1], sep="  ", flush=True)
    text = (
        f"{len(rows)} combinations of container, codec and start time of the dialogue, each dubbed into .mkv,"
        f" .mov and .mp4: the movie's sound lies at most {worst} samples at {RATE} Hz from the sound that the"
        f" mouth is predicted from. A clip's own sound lies at most {worst_own} samples from where its stamps"
        " place it against the first frame, but for MP3 in AVI, whose encoder's delay is not declared; many"
        " containers stamp whole milliseconds, 48 samples."
    )
    print(text)
    if args.json:
        columns = ("dialogue", "mouth after signal", "mkv after mouth", "mov after mouth", "mp4 after mouth")
        own_columns = ("clip", "as heard", "copied to mkv", "copied to mp4")
        finding = Finding(
            f"Lag of sound and mouth over {len(rows)} kinds of dialogue, samples at {RATE} Hz",
            "0",
            str(worst),
        )
        figures = {"combinations": len(rows), "worst_lag_samples": worst, "worst_own_lag_samples": worst_own}
        parts = [text, table(columns, rows), "A clip's own sound:", table(own_columns, own)]
        write_result(args.json, "Origin of the sound", parts, [finding], figures)


if __name__ == "__main__":
    main()
