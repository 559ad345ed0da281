"""Sound in: mono float in step with the picture. Sound out: packets copied, or a recording encoded."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media.conftest import make_movie, numbered_picture, tone, write_sound
from numpy.typing import NDArray

from visualdub.media.audio import AudioMissing, read_audio
from visualdub.media.movie_writer import AudioSource, MovieWriter
from visualdub.media.source import open_source, probe
from visualdub.timing import FrameRange

CLICK = 0.8  # seconds into the sound


def clip_with_sound(path: Path, picture_start: int = 0, sound_start: float = 0.0, codec: str = "aac") -> Path:
    """40 frames at 25 frames/s from frame period `picture_start` on; 1.6 s of tone with a click from
    `sound_start` on.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 192, 96, "yuv420p"
        audio = container.add_stream(codec, rate=48000, layout="mono")
        resampler = av.AudioResampler(audio.format.name, "mono", 48000, frame_size=1024)
        block = av.AudioFrame.from_ndarray(tone(1.6, at=CLICK)[None], format="fltp", layout="mono")
        block.sample_rate, block.pts = 48000, 0
        shift = round(sound_start * 48000)
        for i in range(40):
            picture = numbered_picture(i)
            picture.pts, picture.time_base = i + picture_start, Fraction(1, 25)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        for part in (*resampler.resample(block), *resampler.resample(None)):
            part.pts = (part.pts or 0) + shift
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))
    return path


def click_of(samples: NDArray[np.float32], rate: int = 16000) -> float:
    """Seconds at which the click is heard."""
    return float(np.abs(samples).argmax()) / rate


def dubbed(path: Path, clip: Path, audio: AudioSource | None, frames: FrameRange | None = None) -> Path:
    info = probe(clip)
    with MovieWriter(path, info.part(frames) if frames else info, "h264", audio) as writer:
        for frame in open_source(clip).frames(frames):
            writer.write(frame)
    return path


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(container.streams.audio[0]) if p.size]


def test_a_recording_is_resampled_to_mono_float(tmp_path: Path) -> None:
    samples = read_audio(write_sound(tmp_path / "a.wav", tone(1.0, at=0.5)))
    assert (samples.dtype, samples.ndim) == (np.float32, 1)
    assert len(samples) == pytest.approx(16000, abs=2)
    assert click_of(samples) == pytest.approx(0.5, abs=0.001)
    assert np.sqrt((samples[:4000] ** 2).mean()) == pytest.approx(0.05 / np.sqrt(2), rel=0.02)


def test_channels_are_mixed_evenly(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "s.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="stereo")
        data = np.tile(np.array([16384, 0], np.int16), 1600)[None]
        block = av.AudioFrame.from_ndarray(data, format="s16", layout="stereo")
        block.sample_rate, block.pts = 16000, 0
        container.mux([*stream.encode(block), *stream.encode(None)])
    assert read_audio(tmp_path / "s.wav") == pytest.approx(np.full(1600, 0.25), abs=0.01)


@pytest.mark.parametrize(
    ("picture_start", "sound_start", "heard"), [(0, 0.0, 0.8), (10, 0.0, 0.4), (0, 0.24, 1.04), (5, 0.4, 1.0)]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_aligned_to_the_first_frame(
    picture_start: int, sound_start: float, heard: float, suffix: str, tmp_path: Path
) -> None:
    clip = clip_with_sound(tmp_path / f"a{suffix}", picture_start, sound_start)
    assert click_of(read_audio(clip)) == pytest.approx(heard, abs=0.002)


def test_no_sound_and_no_samples_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(AudioMissing, match=r"mute\.mp4 has no audio stream; expected a file with sound"):
        read_audio(make_movie(tmp_path / "mute.mp4", count=2))
    with wave.open(str(tmp_path / "still.wav"), "wb") as still:
        still.setparams((1, 2, 16000, 0, "NONE", ""))
    with pytest.raises(AudioMissing, match=r"still\.wav has an audio stream of zero length"):
        read_audio(tmp_path / "still.wav")


# ---- out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("picture_start", [0, 10])
def test_a_clips_own_packets_are_copied(suffix: str, picture_start: int, tmp_path: Path) -> None:
    clip = clip_with_sound(tmp_path / "in.mp4", picture_start)
    out = dubbed(tmp_path / f"out{suffix}", clip, AudioSource(clip))
    assert packets_of(out) == packets_of(clip)
    assert click_of(read_audio(out)) == pytest.approx(click_of(read_audio(clip)), abs=0.002)
    assert probe(out).has_audio


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_part_hears_its_own_passage(suffix: str, tmp_path: Path) -> None:
    clip = clip_with_sound(tmp_path / "in.mp4")
    out = dubbed(tmp_path / f"out{suffix}", clip, AudioSource(clip, Fraction(10, 25)), FrameRange(10, 35))
    samples = read_audio(out)
    assert click_of(samples) == pytest.approx(CLICK - 0.4, abs=0.002)
    assert len(samples) / 16000 == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mov", "pcm_s16le"), (".mkv", "pcm_s16le")])
@pytest.mark.parametrize("seconds", [0.9, 3.0])
def test_a_recording_is_muxed_to_the_pictures_length(
    suffix: str, codec: str, seconds: float, tmp_path: Path
) -> None:
    clip = clip_with_sound(tmp_path / "in.mp4", picture_start=5)
    out = dubbed(
        tmp_path / f"out{suffix}", clip, AudioSource(write_sound(tmp_path / "d.wav", tone(seconds, at=0.5)))
    )
    with av.open(str(out)) as container:
        assert [s.codec_context.name for s in container.streams.audio] == [codec]
    samples = read_audio(out)
    assert click_of(samples) == pytest.approx(0.5, abs=0.002)
    assert len(samples) / 16000 == pytest.approx(1.6, abs=0.03)
    if seconds < 1.6:
        assert np.abs(samples[round(16000 * (seconds + 0.05)) :]).max() < 0.01


def test_a_recordings_samples_survive_pcm(tmp_path: Path) -> None:
    clip = make_movie(tmp_path / "in.mp4")
    sound = write_sound(tmp_path / "d.wav", tone(1.6, at=0.3))
    out = dubbed(tmp_path / "out.mkv", clip, AudioSource(sound))
    assert np.array_equal(read_audio(out, 48000), read_audio(sound, 48000))


def test_a_clip_sound_the_container_does_not_take_is_encoded(tmp_path: Path) -> None:
    clip = clip_with_sound(tmp_path / "in.mov", codec="pcm_s16le")
    out = dubbed(tmp_path / "out.mp4", clip, AudioSource(clip))
    assert click_of(read_audio(out)) == pytest.approx(CLICK, abs=0.002)


def test_a_movie_is_not_begun_without_its_sound(tmp_path: Path) -> None:
    clip = make_movie(tmp_path / "mute.mp4", count=2)
    with pytest.raises(AudioMissing):
        dubbed(tmp_path / "out.mkv", clip, AudioSource(clip))
    assert [p.name for p in tmp_path.iterdir()] == ["mute.mp4"]
