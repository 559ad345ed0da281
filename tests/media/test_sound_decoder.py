"""Sound of any shape, decoded from one time origin: channels, gaps, jumps of the clock, samples that are no
numbers.
"""

from __future__ import annotations

import struct
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media.conftest import make_movie, write_sound
from numpy.typing import NDArray

from visualdub.errors import BadInput, MediaError
from visualdub.media.audio import read_audio
from visualdub.media.movie_writer import AudioSource, MovieWriter, picture_info, rgb_frame
from visualdub.media.sound_decoder import AudioMissing, DecodedSound, picture_start
from visualdub.media.soundtrack import check_soundtrack

RATE = 48000
Samples = NDArray[np.float32]


def murmur(seconds: float = 1.0, seed: int = 0) -> Samples:
    """(n,) noise below 2 kHz that comes and goes four times a second, as syllables do."""
    t = np.arange(round(seconds * RATE)) / RATE
    noise = 4 * np.convolve(np.random.default_rng(seed).normal(size=len(t)), np.hanning(50) / 25, "same")
    return (0.1 * noise * np.sin(4 * np.pi * t) ** 2).astype(np.float32)


def write_channels(
    path: Path, samples: Samples, codec: str = "pcm_s16le", layout: str | None = None, rate: int = RATE
) -> Path:
    """Samples (n, C) by FFmpeg; layout: None for one of C channels that are not named."""
    layout = layout or f"{samples.shape[1]} channels"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        block = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), format="flt", layout=layout
        )
        block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
        for packet in (*stream.encode(block), *stream.encode(None)):
            container.mux(packet)
    return path


def decoded(path: Path) -> Samples:
    """All samples of a file, (n, C)."""
    with DecodedSound(path) as sound:
        return np.concatenate(list(sound.blocks()))


def muxed(path: Path, source: AudioSource, frames: int = 30) -> Path:
    """A grey movie at 25 frames/s with the sound of `source`."""
    info = picture_info(path, 64, 48, Fraction(25), frames)
    with MovieWriter(path, info, None, source) as writer:
        for i in range(frames):
            writer.write(rgb_frame(np.full((48, 64, 3), 90, np.uint8), info.image, i))
    return path


# ---- channels ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("channels", range(1, 17))
def test_a_voice_on_any_one_channel_keeps_its_level(channels: int, tmp_path: Path) -> None:
    voice = murmur()
    samples = np.zeros((len(voice), channels), np.float32)
    samples[:, -1] = voice
    found = read_audio(write_channels(tmp_path / "one.wav", samples), RATE)
    np.testing.assert_allclose(found, voice, atol=1e-4)


@pytest.mark.parametrize(
    ("codec", "suffix", "layout"),
    [
        ("flac", ".mkv", "7.1"),  # planes of eight channels, which PyAV cannot count
        ("aac", ".m4a", "7.1"),
        ("ac3", ".mka", "5.1(side)"),
        ("libopus", ".mka", "7.1"),
        ("pcm_s24le", ".mov", "7.1"),
        ("alac", ".m4a", "7.1(wide)"),
        ("pcm_f64le", ".mka", "hexadecagonal"),
    ],
)
def test_a_voice_beside_a_steady_tone_is_found(codec: str, suffix: str, layout: str, tmp_path: Path) -> None:
    voice = murmur(2.0)
    channels = av.AudioLayout(layout).nb_channels
    samples = np.zeros((len(voice), channels), np.float32)
    samples[:, 0] = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(len(voice)) / RATE)
    samples[:, 4] = voice
    found = read_audio(write_channels(tmp_path / f"v{suffix}", samples, codec, layout), RATE)
    shared = min(len(found), len(voice))
    assert np.corrcoef(found[:shared], voice[:shared])[0, 1] > 0.7
    assert found.std() == pytest.approx(voice.std(), rel=0.3)


def test_a_films_centre_is_taken_alone(tmp_path: Path) -> None:
    music = murmur(2.0, seed=1)
    samples = np.stack([music, music, murmur(2.0), 0 * music, music, music], 1)
    found = read_audio(write_channels(tmp_path / "film.wav", samples, layout="5.1"), RATE)
    np.testing.assert_allclose(found, murmur(2.0), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".mp4"])
@pytest.mark.parametrize(
    ("channels", "layout"), [(1, None), (3, None), (4, None), (6, None), (8, None), (8, "7.1"), (16, None)]
)
def test_every_channel_is_written_in_its_place(
    channels: int, layout: str | None, suffix: str, tmp_path: Path
) -> None:
    t = np.arange(RATE) / RATE
    # 100 Hz where the layout has its channel for low frequencies, which AAC cuts off above 120 Hz
    pitches = [100 if layout and c == 3 else 300 + 200 * c for c in range(channels)]
    samples = np.stack([0.2 * np.sin(2 * np.pi * p * t) for p in pitches], 1).astype(np.float32)
    given = write_channels(tmp_path / "many.wav", samples, layout=layout)
    out = decoded(muxed(tmp_path / f"out{suffix}", AudioSource(given)))
    part = out[4800 : 4800 + RATE // 2] * np.hanning(RATE // 2)[:, None]
    assert [int(2 * p) for p in np.abs(np.fft.rfft(part, axis=0)).argmax(0)] == pitches


@pytest.mark.parametrize("channels", [9, 12, 15])
def test_channels_that_an_mp4_cannot_hold_are_refused(channels: int, tmp_path: Path) -> None:
    given = write_channels(tmp_path / "many.wav", np.zeros((RATE, channels), np.float32))
    with pytest.raises(BadInput, match=rf"many\.wav has {channels} channels of sound; expected at most 8"):
        check_soundtrack(AudioSource(given, recording=True), tmp_path / "out.mp4")
    check_soundtrack(AudioSource(given, recording=True), tmp_path / "out.mkv")


def test_more_channels_than_any_recorder_has_are_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "w.wav"), "wb") as f:
        f.setparams((200, 2, 8000, 0, "NONE", ""))
        f.writeframes(bytes(2 * 200 * 100))
    with pytest.raises(MediaError, match=r"w\.wav has 200 channels of sound at 8000 Hz; expected 1 to 64"):
        read_audio(tmp_path / "w.wav")


def test_channels_in_an_order_of_their_own_are_sorted(tmp_path: Path) -> None:
    """Left, centre, right, surrounds, low frequencies, as film mixes are laid out; freed twice by PyAV."""
    levels = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.float32)
    path = write_channels(tmp_path / "six.mov", np.tile(levels, (RATE, 1)), layout="5.1")
    labels = [1, 3, 2, 5, 6, 4]  # QuickTime's numbers
    described = struct.pack(">IIII", 0, 0, 0, 6) + b"".join(
        struct.pack(">IIIII", v, 0, 0, 0, 0) for v in labels
    )
    path.write_bytes(with_channel_box(path.read_bytes(), described))
    for _ in range(3):
        with DecodedSound(path) as sound:
            assert sound.layout == "5.1"
            first = next(sound.blocks())[0]
    np.testing.assert_allclose(first, levels[[0, 2, 1, 5, 3, 4]], atol=1e-4)


def with_channel_box(movie: bytes, content: bytes) -> bytes:
    """The movie, whose index lies behind its samples, with another `chan` box."""
    at = movie.index(b"chan") - 4
    old = struct.unpack(">I", movie[at : at + 4])[0]
    box = struct.pack(">I", len(content) + 8) + b"chan" + content
    grown = bytearray(movie[:at] + box + movie[at + old :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"sowt"):
        start = movie.rindex(name, 0, at) - 4
        size = struct.unpack(">I", movie[start : start + 4])[0]
        grown[start : start + 4] = struct.pack(">I", size + len(box) - old)
    return bytes(grown)


# ---- samples that are no numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("codec", ["pcm_f32le", "pcm_f64le"])
def test_samples_that_are_no_numbers_are_refused_by_name(value: float, codec: str, tmp_path: Path) -> None:
    samples = murmur()[:, None].copy()
    samples[RATE // 2] = value
    path = write_channels(tmp_path / "bad.wav", samples, codec, "mono")
    with pytest.raises(MediaError, match=r"bad\.wav holds samples that are not numbers .* at 0\.\d+ s"):
        read_audio(path)


# ---- the time origin ---------------------------------------------------------------------------------------


def write_stamped(path: Path, stamps: Sequence[int], pictures: bool = False) -> Path:
    """Blocks of 4800 samples of PCM in Matroska, block k full of (k + 1) / 100, at `stamps` in samples."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25) if pictures else None
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts, picture.time_base = 0, Fraction(1, 25)
            container.mux([*video.encode(picture), *video.encode(None)])
        for k, stamp in enumerate(stamps):
            data = np.full((1, 4800), round(32768 * (k + 1) / 100), np.int16)
            block = av.AudioFrame.from_ndarray(data, format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = RATE, stamp, Fraction(1, RATE)
            container.mux(stream.encode(block))
    return path


def restamped(path: Path, milliseconds: Sequence[int]) -> Path:
    """A copy of such a file with other stamps on its blocks, in any order."""
    head, *blocks = path.read_bytes().split(b"\xa3\x65\x84\x81")  # blocks of 9600 bytes of the first track
    stamped = [struct.pack(">h", ms) + b[2:] for ms, b in zip(milliseconds, blocks, strict=True)]
    copy = path.with_stem("restamped")
    copy.write_bytes(b"\xa3\x65\x84\x81".join([head, *stamped]))
    return copy


def levels_of(path: Path) -> list[int]:
    """The level of every 4800 samples in hundredths of full scale."""
    return [round(100 * float(x)) for x in decoded(path)[2400::4800, 0]]


def test_a_gap_is_filled_with_silence(tmp_path: Path) -> None:
    path = write_stamped(tmp_path / "gap.mka", [0, 4800, 24000, 28800])
    assert levels_of(path) == [1, 2, 0, 0, 0, 3, 4]


def test_one_wrong_stamp_and_a_clock_that_jumps_put_nothing_in(tmp_path: Path) -> None:
    steady = write_stamped(tmp_path / "steady.mka", range(0, 24000, 4800))
    assert levels_of(restamped(steady, [0, 100, 2000, 300, 400])) == [1, 2, 3, 4, 5]
    assert levels_of(restamped(steady, [9000, 9100, 9200, 0, 100])) == [1, 2, 3, 4, 5]
    assert levels_of(restamped(steady, [9000, 9100, 0, 400, 500])) == [1, 2, 3, 0, 0, 0, 4, 5]
    hour = 3600 * RATE
    assert levels_of(write_stamped(tmp_path / "c.mka", [0, 4800, hour, hour + 4800])) == [1, 2, 3, 4]


def test_a_recording_starts_with_its_first_sample_and_a_clip_with_its_first_frame(tmp_path: Path) -> None:
    assert levels_of(write_stamped(tmp_path / "late.mka", [14400, 19200])) == [1, 2]
    assert levels_of(write_stamped(tmp_path / "late.mkv", [14400, 19200], pictures=True)) == [0, 0, 0, 1, 2]


def test_sound_hours_after_the_picture_is_a_damaged_clock(tmp_path: Path) -> None:
    path = write_stamped(tmp_path / "far.mkv", [8 * 3600 * RATE], pictures=True)
    with pytest.raises(MediaError, match=r"far\.mkv: its sound starts 8 h after its first frame"):
        read_audio(path)


def test_the_first_frame_starts_the_clock(tmp_path: Path) -> None:
    movie = make_movie(tmp_path / "late.mkv", count=3, stamps=[10, 11, 12])
    assert picture_start(movie) == Fraction(10, 25)
    assert picture_start(write_sound(tmp_path / "s.wav", murmur())) is None


# ---- several tracks ----------------------------------------------------------------------------------------


def write_tracks(path: Path, codecs: Sequence[str], default: int) -> Path:
    """A grey clip of 30 frames with an audio track of each codec, a tone of (k + 1) * 300 Hz in track k."""
    t = np.arange(round(1.2 * RATE)) / RATE
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        streams = [container.add_stream(codec, rate=RATE, layout="mono") for codec in codecs]
        for k, stream in enumerate(streams):
            stream.metadata["language"] = ["eng", "fra", "deu"][k]
            stream.disposition = av.stream.Disposition(k == default)
        for i in range(30):
            picture = av.VideoFrame(64, 48, "yuv420p")
            for plane in picture.planes:
                plane.update(bytes([100 + i]) * plane.buffer_size)
            picture.pts, picture.time_base = i, Fraction(1, 25)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        for k, stream in enumerate(streams):
            samples = (0.3 * np.sin(2 * np.pi * 300 * (k + 1) * t)).astype(np.float32)
            block = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
            block.sample_rate, block.pts, block.time_base = RATE, 0, Fraction(1, RATE)
            container.mux([*stream.encode(block), *stream.encode(None)])
    return path


def pitches_of(path: Path) -> list[int]:
    """The pitch of every audio track in Hz."""
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    pitches = []
    for k in range(count):
        with DecodedSound(path, k) as sound:
            samples = np.concatenate(list(sound.blocks()))[4800 : 4800 + RATE // 2, 0]
        pitches.append(2 * int(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax()))
    return pitches


def tracks_of(path: Path) -> list[tuple[str | None, bool]]:
    """Language and default flag of every audio track."""
    with av.open(str(path)) as container:
        return [(s.language, bool(int(s.disposition) & 1)) for s in container.streams.audio]


def test_the_default_track_is_the_clips_sound(tmp_path: Path) -> None:
    clip = write_tracks(tmp_path / "clip.mkv", ["aac", "aac", "flac"], default=1)
    heard = read_audio(clip, RATE)[4800 : 4800 + RATE // 2]
    assert 2 * int(np.abs(np.fft.rfft(heard)).argmax()) == 600


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".mp4"])
@pytest.mark.parametrize("start", [Fraction(0), Fraction(2, 25)])
def test_the_dialogue_replaces_the_main_track_and_the_others_stay(
    suffix: str, start: Fraction, tmp_path: Path
) -> None:
    clip = write_tracks(tmp_path / "clip.mkv", ["aac", "aac", "flac"], default=1)
    t = np.arange(RATE) / RATE
    tone = (0.3 * np.sin(2 * np.pi * 2000 * t)).astype(np.float32)
    dialogue = write_channels(tmp_path / "d.wav", tone[:, None], layout="mono")
    source = AudioSource(dialogue, recording=True, beside=AudioSource(clip, start))
    out = muxed(tmp_path / f"out{suffix}", source, frames=28)
    assert pitches_of(out) == [300, 2000, 900]
    assert [d for _, d in tracks_of(out)] == [False, True, False]
    assert [lang for lang, _ in tracks_of(out)][::2] == ["eng", "ger" if suffix == ".mov" else "deu"]
    assert pitches_of(muxed(tmp_path / f"alone{suffix}", AudioSource(dialogue, recording=True))) == [2000]


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".mp4"])
def test_all_tracks_of_a_clip_stay_where_some_must_be_encoded(suffix: str, tmp_path: Path) -> None:
    clip = write_tracks(tmp_path / "clip.mkv", ["pcm_f64le", "aac", "pcm_s16le"], default=0)
    out = muxed(tmp_path / f"out{suffix}", AudioSource(clip))
    assert pitches_of(out) == [300, 600, 900]


def test_a_file_without_sound_keeps_saying_so(tmp_path: Path) -> None:
    with pytest.raises(AudioMissing, match=r"mute\.mp4 has no audio stream; expected a file with sound"):
        DecodedSound(make_movie(tmp_path / "mute.mp4", count=2))
