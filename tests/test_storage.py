"""Files that are whole or as they were, the hash of a file, and a cache that cannot hurt."""

from __future__ import annotations

import errno
import io
import json
import logging
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from visualdub import locks, storage
from visualdub.cli import run
from visualdub.errors import BadInput, Interrupted, MediaError, OutputError
from visualdub.face import tracker
from visualdub.face.track import Track
from visualdub.stages import Progress
from visualdub.storage import (
    Together,
    atomic_path,
    cached,
    content_hash,
    entry,
    protect,
    read_entry,
    require_writable,
    store_entry,
)
from visualdub.timing import FrameRange

HASH = "0123456789abcdef" * 2


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, and no hashes in memory."""
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(storage, "_hashes", {})
    return tmp_path / "cache"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def older(path: Path, seconds: float) -> Path:
    """The same file, last changed so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


# ---- inputs that are never written to ----------------------------------------------------------------------


def test_protected_by_every_name_and_link(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mov"
    clip.write_bytes(b"frames")
    (tmp_path / "folder").mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "folder")
    (tmp_path / "folder" / "soft").symlink_to(clip)
    (tmp_path / "twice").symlink_to(tmp_path / "folder" / "soft")
    os.link(clip, tmp_path / "hard")
    for output in (clip, tmp_path / "folder" / ".." / "clip.mov", tmp_path / "twice", tmp_path / "hard"):
        with pytest.raises(BadInput, match=r"is the same file as .*clip\.mov.*never written to"):
            protect([None, clip], [tmp_path / "other", output])
    for output in (tmp_path / "way" / "new", tmp_path / "folder" / "deep" / "new"):
        with pytest.raises(BadInput, match=r"new lies in .*folder"):
            protect([tmp_path / "folder"], [output])
    with pytest.raises(BadInput, match="holds"):
        protect([clip], [tmp_path])
    with pytest.raises(BadInput, match="is the same file as one in"):  # by the link inside the folder
        protect([tmp_path / "folder"], [clip])
    protect([clip, tmp_path / "folder"], [None, tmp_path / "clip.mov.report.json"])
    assert clip.read_bytes() == b"frames"


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(tmp_path)
    for second in (tmp_path / "a.mkv", tmp_path / "way" / "a.mkv", tmp_path / "a.mkv" / "b"):
        with pytest.raises(BadInput, match=r"a\.mkv (is the same file as|holds) .*, which is written too"):
            protect([], [tmp_path / "a.mkv", second])
    protect([], [tmp_path / "a.mkv", tmp_path / "b.mkv"])


# ---- outputs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, Interrupted])
def test_a_block_that_fails_leaves_what_was_there(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(error), atomic_path(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "before" and len(names(tmp_path)) == 2
        raise error
    assert path.read_text() == "before" and names(tmp_path) == ["a.txt"]


def test_two_writers_never_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second and first.parent == second.parent == tmp_path
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first" and names(tmp_path) == ["a.txt"]  # the outer block ends last


def test_whole_files_may_be_read_by_whom_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.unlink()
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))  # as safetensors writes
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), atomic_path(tmp_path / "a"):
        (tmp_path / "absent").read_bytes()
    with pytest.raises(OutputError, match=r"a cannot be written: No space left"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"b cannot be written: No such file"):
        storage.write_text(tmp_path / "nowhere" / "b", "x")
    assert names(tmp_path) == []


def test_files_that_belong_together_get_their_names_together(tmp_path: Path) -> None:
    for name in ("movie", "record"):
        (tmp_path / name).write_text("old")
    with pytest.raises(KeyboardInterrupt), Together() as files:
        storage.write_text(tmp_path / "movie", "new", files)
        assert (tmp_path / "movie").read_text() == "old"
        raise KeyboardInterrupt
    assert {n: (tmp_path / n).read_text() for n in names(tmp_path)} == {"movie": "old", "record": "old"}
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken cannot be written"), Together() as files:
        for name in ("movie", "record", "taken"):  # a folder: its name cannot be had
            storage.write_text(tmp_path / name, "new", files)
    (tmp_path / "taken").rmdir()
    assert {n: (tmp_path / n).read_text() for n in names(tmp_path)} == {"movie": "old", "record": "old"}
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken cannot be written"), Together() as files:
        for name in ("first", "taken"):
            storage.write_text(tmp_path / name, "new", files)
    (tmp_path / "taken").rmdir()
    assert "first" not in names(tmp_path)
    with Together() as files:
        storage.write_text(tmp_path / "movie", "new", files)
        storage.write_text(tmp_path / "record", "new", files)
    assert {n: (tmp_path / n).read_text() for n in names(tmp_path)} == {"movie": "new", "record": "new"}


def test_names_that_are_no_text_are_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    storage.write_json(tmp_path / "a.json", {"clip": name, "é": 1})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"clip": name, "é": 1} and "é" in text


@pytest.mark.parametrize(("sidecars", "room"), [((), 237), ((".report.json", ".provenance.json"), 221)])
def test_a_name_must_leave_room_for_what_is_added(
    sidecars: tuple[str, ...], room: int, tmp_path: Path
) -> None:
    fits = "é" * (room // 2) + "x" * (room % 2)
    require_writable(tmp_path / fits, sidecars)
    with atomic_path(tmp_path / (fits + (".provenance.json" if sidecars else ""))):
        pass
    with pytest.raises(OutputError, match=rf"the name has {room + 1} bytes; expected at most {room}"):
        require_writable(tmp_path / (fits + "x"), sidecars)


def test_devices_and_folders_are_no_outputs(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a device"):
        require_writable(Path("/dev/null"))
    (tmp_path / "a.mkv.report.json").mkdir()
    with pytest.raises(OutputError, match=r"a\.mkv\.report\.json is a folder"):
        require_writable(tmp_path / "a.mkv", (".report.json",))


# ---- the hash of a file ------------------------------------------------------------------------------------


def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files whose bytes are hashed from now on."""
    sizes: list[int] = []
    digest = storage._digest

    def count(f: BinaryIO, size: int, progress: Progress | None) -> str:
        sizes.append(size)
        return digest(f, size, progress)

    monkeypatch.setattr(storage, "_digest", count)
    return sizes


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = opened(monkeypatch)
    clip = tmp_path / "clip"
    clip.write_bytes(b"frames")
    older(clip, 60)
    first = content_hash(clip)
    assert content_hash(clip) == first and sizes == [6]
    monkeypatch.setattr(storage, "_hashes", {})  # another process
    assert content_hash(clip) == first and sizes == [6]
    times = clip.stat().st_atime_ns, clip.stat().st_mtime_ns
    clip.write_bytes(b"other!")
    os.utime(clip, ns=times)  # the same size and the same time: the inode's change time tells
    assert content_hash(clip) != first and sizes == [6, 6]


def test_a_file_that_was_changed_just_now_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change again within the resolution of its time stamp."""
    sizes = opened(monkeypatch)
    clip = tmp_path / "clip"
    clip.write_bytes(b"frames")
    assert content_hash(clip) == content_hash(clip) and sizes == [6, 6]


@pytest.mark.slow
def test_a_cold_run_hashes_its_clip_once(
    talking: Path, flat_actor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from helpers import write_wav

    sizes = opened(monkeypatch)
    clip = tmp_path / "clip.mkv"
    clip.write_bytes(talking.read_bytes())  # just now: its hash is not kept, but passed on
    wav = write_wav(tmp_path / "new.wav", 1.0)
    args = ["dub", clip, "--dialogue", wav, "--actor", flat_actor, "-o", tmp_path / "out.mkv"]
    assert run([str(a) for a in args]) == 0
    assert sizes.count(clip.stat().st_size) == 1


def test_hashing_tells_how_far_it_is_and_can_be_stopped(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.write_bytes(bytes(20 * storage.MIB + 1))
    seen: list[tuple[str, int, int]] = []
    content_hash(clip, Progress(lambda *report: seen.append(report)))
    assert seen == [("hashing", 8, 21), ("hashing", 16, 21), ("hashing", 21, 21)]
    stopped = Progress()
    stopped.cancel()
    with pytest.raises(Interrupted):
        content_hash(clip, stopped)
    with pytest.raises(MediaError, match="gone"):
        content_hash(tmp_path / "gone")


# ---- the cache ---------------------------------------------------------------------------------------------


def save_text(text: str, f: BinaryIO) -> None:
    f.write(text.encode())


def load_text(f: BinaryIO) -> str:
    return f.read().decode()


def test_what_is_made_is_kept(empty_cache: Path) -> None:
    path = entry("tracks", HASH, "auto", ".npz")
    assert not empty_cache.exists()
    assert cached(path, load_text, lambda: "made", save_text) == ("made", False)
    assert cached(path, load_text, lambda: "again", save_text) == ("made", True)
    assert names(path.parent) == [path.name]  # neither a lock nor a temporary is left
    assert len({entry("t", HASH, d, "") for d in ("1,2", "1.2", "1_2", "12", "")}) == 5


@pytest.mark.parametrize("error", [KeyError, EOFError, zlib.error, zipfile.BadZipFile, MemoryError])
def test_an_entry_that_its_reader_cannot_take_is_made_again(error: type[Exception]) -> None:
    """Its bytes are as they were written, by a version that wrote something else."""
    path = entry("tracks", HASH, "auto", ".npz")
    store_entry(path, lambda f: f.write(b"old"))

    def load(f: BinaryIO) -> str:
        text = f.read().decode()
        if text == "old":
            raise error("not what was expected")
        return text

    assert cached(path, load, lambda: "new", save_text) == ("new", False)
    assert cached(path, load, lambda: "again", save_text) == ("new", True)


@pytest.fixture(scope="module")
def track(talking: Path) -> Track:
    return tracker.track_clip(talking)


def same(a: Track, b: Track) -> bool:
    """Whether two tracks are written as the same bytes."""
    written = []
    for track in (a, b):
        file = io.BytesIO()
        track.write(file)
        written.append(file.getvalue())
    return written[0] == written[1]


@pytest.mark.slow
def test_every_damaged_entry_is_made_again(track: Track, caplog: pytest.LogCaptureFixture) -> None:
    """500 entries of a real track: a byte changed, some changed, cut short, or with bytes added."""
    path, rng = entry("tracks", HASH, "auto", ".npz"), random.Random(11)
    store_entry(path, track.write)
    whole = path.read_bytes()
    faults: tuple[Callable[[bytearray], object], ...] = (
        lambda d: d.__setitem__(rng.randrange(len(d)), rng.randrange(256)),
        lambda d: [d.__setitem__(rng.randrange(len(d)), rng.randrange(256)) for _ in range(20)],
        lambda d: d.__delitem__(slice(rng.randrange(len(d)), None)),
        lambda d: d.extend(rng.randbytes(1 + rng.randrange(64))),
        lambda d: d.__delitem__(slice(a := rng.randrange(len(d)), a + 1 + rng.randrange(512))),
    )
    caplog.set_level(logging.WARNING)
    for i in range(500):
        damaged = bytearray(whole)
        while damaged == whole:
            faults[i % len(faults)](damaged)
        path.write_bytes(damaged)
        made, from_cache = cached(path, Track.read, lambda: track, Track.write)
        assert not from_cache and made is track
        assert path.read_bytes() == whole
        assert len(caplog.records) == i + 1 and path.name in caplog.text
    kept = read_entry(path, Track.read)
    assert kept is not None and same(kept, track)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", bytes(100), b"[" * 3000])
def test_files_that_are_no_track_are_bad_input_by_name(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_bytes(damage)
    with pytest.raises(BadInput, match=r"t\.npz is not a track"):
        Track.load(tmp_path / "t.npz")


@pytest.mark.slow
def test_a_damaged_track_in_the_cache_is_made_again_by_a_command(
    talking: Path, empty_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = tracker.cached_track(talking)
    (path,) = (empty_cache / "tracks").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    second, from_cache = tracker.cached_track(talking)
    assert not from_cache and same(first, second) and path.name in caplog.text
    third, from_cache = tracker.cached_track(talking)
    assert from_cache and same(first, third)


def test_the_track_of_a_copy_has_the_name_that_was_given(talking: Path, tmp_path: Path) -> None:
    tracker.cached_track(talking)
    copy = tmp_path / "take_7.mkv"
    copy.write_bytes(talking.read_bytes())
    track, from_cache = tracker.cached_track(copy)
    assert from_cache and track.source == "take_7.mkv"
    with pytest.raises(BadInput, match=r"take_7\.mkv: frames 30:50"):
        track.span(FrameRange(30, 50))


@pytest.mark.parametrize(
    "version", ["DETECTOR_VERSION", "FIT_VERSION", "CONFIDENCE_VERSION", "CACHED_FORMAT"]
)
def test_another_version_is_another_track(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tracker.track_key(None, None, "face468-1")
    monkeypatch.setattr(tracker, version, getattr(tracker, version) + 1)
    assert tracker.track_key(None, None, "face468-1") != before


@pytest.mark.slow
def test_face_and_frames_are_part_of_the_key(talking: Path) -> None:
    whole, _ = tracker.cached_track(talking)
    part, from_cache = tracker.cached_track(talking, frames=FrameRange(5, 20))
    assert not from_cache and (part.start, len(part)) == (5, 15)
    again, from_cache = tracker.cached_track(talking, frames=FrameRange(5, 20))
    assert from_cache and same(part, again)
    all_of_it, from_cache = tracker.cached_track(talking, frames=FrameRange(0, 40))
    assert from_cache and same(all_of_it, whole)
    assert tracker.cached_track(talking, face="0")[1] is False
    frames, faces, models = (None, FrameRange(5, 20)), (None, "0", "0,5", "0.5"), ("face468-1", "flame-1")
    assert len({tracker.track_key(f, w, m) for f in frames for w in faces for m in models}) == 16
    with pytest.raises(BadInput, match="40 frames"):
        tracker.cached_track(talking, frames=FrameRange(5, 45))


def test_a_clip_that_grows_meanwhile_is_refused(
    talking: Path, track: Track, tmp_path: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.mkv"
    clip.write_bytes(talking.read_bytes())

    def grow(*args: Any, **kwargs: Any) -> Track:
        with clip.open("ab") as f:
            f.write(b"more")
        return track

    monkeypatch.setattr(tracker, "track_clip", grow)
    with pytest.raises(MediaError, match=r"clip\.mkv was written to while"):
        tracker.cached_track(clip)
    assert not list(empty_cache.glob("tracks/*"))


def test_a_cache_that_cannot_be_written_to_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = entry("tracks", HASH, "auto", ".npz")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert cached(path, load_text, lambda: "made", save_text) == ("made", False)
    assert "No space left on device" in caplog.text and names(path.parent) == []
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert cached(entry("t", HASH, "", ".npz"), load_text, lambda: "made", save_text) == ("made", False)
    assert "Not a directory" in caplog.text


def test_what_was_not_used_for_longest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUALDUB_CACHE_LIMIT", "3")
    paths = [entry("tracks", f"{i:032x}", "", ".npz") for i in range(4)]
    for i, path in enumerate(paths[:3]):
        store_entry(path, lambda f: f.write(bytes(1000 * 1000)))
        older(path, 100 - i)
    assert read_entry(paths[0], lambda f: len(f.read())) == 1000 * 1000  # used: now the youngest
    store_entry(paths[3], lambda f: f.write(bytes(1000 * 1000)))
    assert [p.exists() for p in paths] == [True, False, True, True]
    monkeypatch.setenv("VISUALDUB_CACHE_LIMIT", "0")
    store_entry(paths[1], lambda f: f.write(b"x"))
    assert not any(p.exists() for p in paths)


def test_a_limit_that_is_no_number_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VISUALDUB_CACHE_LIMIT", "plenty")
    assert storage.cache_limit() == 2048 * storage.MIB and "'plenty'" in caplog.text


def test_show_and_clear(empty_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "clip"
    clip.write_bytes(b"frames")
    content_hash(older(clip, 60))
    store_entry(entry("tracks", HASH, "auto", ".npz"), lambda f: f.write(bytes(1000)))
    theirs = empty_cache / "tracks" / "holiday.npz"
    theirs.write_bytes(b"mine")
    killed = empty_cache / "tracks" / f".{HASH}-auto.npz.12345678.partial"
    killed.write_bytes(b"half")
    older(killed, 4000)
    capsys.readouterr()
    assert run(["cache", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["entries"] == 2 and shown["bytes"] == 1000 + 32 + 2 * 24
    assert shown["folder"] == str(empty_cache)
    assert shown["kinds"]["tracks"] == {"entries": 1, "bytes": 1024}
    assert run(["cache", "show"]) == 0
    assert "2 entries" in capsys.readouterr().out
    assert run(["cache", "clear"]) == 0
    assert "2 entries removed" in capsys.readouterr().out
    assert [p for p in empty_cache.rglob("*") if p.is_file()] == [theirs]
    theirs.unlink()
    assert run(["cache", "clear"]) == 0 and not empty_cache.exists()


def test_entries_of_a_clip_are_its_own(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.write_bytes(b"frames")
    own = content_hash(older(clip, 60))
    store_entry(entry("tracks", own, "auto", ".npz"), lambda f: f.write(b"x"))
    store_entry(entry("tracks", HASH, "auto", ".npz"), lambda f: f.write(b"x"))
    assert {p.parent.name for p in storage.entries_of(own)} == {"tracks", "hashes"}
    assert len(storage.entries_of(HASH)) == 1
    assert storage.entries_of("*") == storage.entries_of("") == storage.entries_of(own[:8]) == []


# ---- one process at a time ---------------------------------------------------------------------------------


def make_in_process(path: Path, log: Path) -> None:
    """Make an entry slowly and note that it was made."""

    def make() -> str:
        with log.open("a") as f:
            f.write("made\n")
        time.sleep(0.5)
        return "value"

    assert cached(path, load_text, make, save_text)[0] == "value"


def test_of_two_processes_the_second_waits_for_the_first(tmp_path: Path) -> None:
    path, log = entry("tracks", HASH, "auto", ".npz"), tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=make_in_process, args=(path, log)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [p.exitcode for p in processes] == [0] * 4
    assert log.read_text() == "made\n" and names(path.parent) == [path.name]


def test_threads_of_one_process_wait_too(tmp_path: Path) -> None:
    path, log = entry("tracks", HASH, "auto", ".npz"), tmp_path / "log"
    threads = [threading.Thread(target=make_in_process, args=(path, log)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert log.read_text() == "made\n" and names(path.parent) == [path.name]


def test_a_process_that_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    path = entry("tracks", HASH, "auto", ".npz")
    code = (
        "import sys, time; from pathlib import Path; from visualdub.locks import alone;"
        "\nwith alone(Path(sys.argv[1]), None): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    seen: list[tuple[str, int, int]] = []
    threading.Timer(0.4, holder.kill).start()
    made = cached(path, load_text, lambda: "made", save_text, Progress(lambda *report: seen.append(report)))
    holder.wait(30)
    holder.stdout.close()
    assert made == ("made", False)
    assert {stage for stage, _, _ in seen} == {"waiting for another process"} and names(path.parent) == [
        path.name
    ]


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_lock_that_its_holder_removed_meanwhile_is_not_held(
    made_anew: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "entry.lock", locks._lock

    def too_late(descriptor: int) -> bool:
        path.unlink()
        if made_anew:
            path.write_bytes(b"")
        return real(descriptor)

    monkeypatch.setattr(locks, "_lock", too_late)
    assert locks._try(path) is None


def test_waiting_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.3)
    path = entry("tracks", HASH, "auto", ".npz")
    with locks.alone(path, None):
        assert cached(path, load_text, lambda: "mine", save_text) == ("mine", False)
    assert "held by another process" in caplog.text
    stopped = Progress()
    stopped.cancel()
    other = entry("tracks", HASH, "other", ".npz")
    with locks.alone(other, None), pytest.raises(Interrupted):
        cached(other, load_text, lambda: "mine", save_text, stopped)
