"""Bad input gets one line that names the file, what was found and what was expected."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from media.conftest import make_movie, tone, write_sound

from benchmarks.samples.movies import Sample
from visualdub.errors import MediaError
from visualdub.media.audio import read_audio
from visualdub.media.source import open_source, probe
from visualdub.storage import content_hash


def refused(work: Callable[[], Any]) -> str:
    """The one line that `work` is refused with."""
    with pytest.raises(MediaError) as e:
        work()
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".mpg", ".webm", ".wav"])
def test_a_text_file_by_another_name(suffix: str, tmp_path: Path) -> None:
    text = tmp_path / f"notes{suffix}"
    text.write_text("Not a movie, however it is called.\n" * 40)
    for work in (probe, read_audio):
        assert refused(lambda work=work: work(text)).startswith(
            f"{text} cannot be read as media: it is a text file; expected"
        )


@pytest.mark.parametrize(
    "content", ["#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:2,\nother.ts\n", "ffconcat version 1.0\nfile other.mp4\n"]
)
def test_playlists_lead_nowhere(content: str, tmp_path: Path) -> None:
    make_movie(tmp_path / "other.mp4", count=2)
    make_movie(tmp_path / "other.ts", count=2)
    listing = tmp_path / "list.mp4"
    listing.write_text(content)
    assert str(listing) in refused(lambda: probe(listing))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mov", "prores_ks"),
        ("a.mkv", "ffv1"),
        ("a.avi", "mpeg4"),
        ("a.webm", "libvpx"),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file(name: str, codec: str, share: float, tmp_path: Path) -> None:
    whole = make_movie(tmp_path / name, codec, "yuv422p10le" if codec == "prores_ks" else "yuv420p")
    data = whole.read_bytes()
    cut = tmp_path / f"cut{whole.suffix}"
    cut.write_bytes(data[: round(len(data) * share)])
    line = re.fullmatch(r"(.*) is truncated: (\d+) bytes found, (\d+) expected", refused(lambda: probe(cut)))
    assert line is not None
    assert (line[1], int(line[2])) == (str(cut), round(len(data) * share))
    assert int(line[2]) < int(line[3]) <= len(data)


def test_a_recording_that_was_never_finished(tmp_path: Path) -> None:
    data = make_movie(tmp_path / "a.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: data.index(b"moov") - 4])
    assert refused(lambda: probe(cut)).endswith("it has no index (moov); expected a whole file")


def test_damage_inside_is_found_when_the_frame_is_read(tmp_path: Path) -> None:
    movie = make_movie(tmp_path / "a.mov", "prores_ks", "yuv422p10le", options={"profile": "3"})
    data = bytearray(movie.read_bytes())
    middle = data.index(b"icpf", len(data) // 2)
    data[middle : middle + 64] = bytes(64)
    movie.write_bytes(data)
    line = refused(lambda: list(open_source(movie).frames()))
    assert str(movie) in line
    assert "damaged" in line


def test_missing_empty_and_folder(tmp_path: Path) -> None:
    missing = tmp_path / "no.mp4"
    assert refused(lambda: probe(missing)) == f"{missing}: no such file or directory; expected a media file"
    assert refused(lambda: read_audio(tmp_path / "no.wav")).endswith("no such file; expected a media file")
    (tmp_path / "empty.mp4").touch()
    assert refused(lambda: probe(tmp_path / "empty.mp4")).endswith(
        "is empty (0 bytes); expected a media file"
    )
    assert refused(lambda: probe(tmp_path)) == f"{tmp_path} is not a file; expected a media file"
    assert str(tmp_path / "no") in refused(lambda: content_hash(tmp_path / "no"))


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(0.1))
    assert (
        refused(lambda: probe(sound))
        == f"{sound} has no video stream (found: audio streams); expected a clip with pictures"
    )


def test_names_that_look_like_addresses_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_movie(tmp_path / "a.mkv", count=3).rename(tmp_path / "pipe:0.mkv")
    assert probe(Path("pipe:0.mkv")).frame_count == 3


def test_a_changed_file_is_probed_again(tmp_path: Path) -> None:
    movie = make_movie(tmp_path / "a.mp4", count=3)
    first, first_hash = probe(movie), content_hash(movie)
    make_movie(movie, count=5)
    assert (first.frame_count, probe(movie).frame_count) == (3, 5)
    assert first_hash != content_hash(movie)
    assert len(first_hash) == 32


def test_a_title_that_is_not_utf_8(tmp_path: Path) -> None:
    movie = Sample(metadata={"title": "Cafe!"}).write(tmp_path / "title.mkv")
    movie.write_bytes(movie.read_bytes().replace(b"Cafe!", b"Caf\xe9!"))
    assert b"Caf\xe9!" in movie.read_bytes()
    assert probe(movie).frame_count == 12


def test_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    movie = Sample("ffv1").write(tmp_path / "odd.mkv")
    movie.write_bytes(movie.read_bytes().replace(b"V_FFV1", b"V_XXXX"))
    assert "no video stream that can be decoded" in refused(lambda: probe(movie))
