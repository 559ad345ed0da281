"""Bad input gets one line that names it, and status 2; nothing half is left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import portrait_pictures, write_movie, write_wav

from visualdub.cli import run


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "new.wav", 1.0)


def refused(args: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, expect status 2 and one line; the line."""
    capsys.readouterr()
    assert run([str(a) for a in args]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vdub: ")]
    assert len(lines) == 1 and "Traceback" not in lines[0]
    return lines[0]


def dub_args(clip: Path, wav: Path, actor: Path, out: Path) -> list[str | Path]:
    return ["dub", clip, "--dialogue", wav, "--actor", actor, "-o", out]


def only(folder: Path, *names: str) -> bool:
    return sorted(p.name for p in folder.iterdir()) == sorted(names)


# ---- the clip ----------------------------------------------------------------------------------------------


def test_no_face_in_the_clip(
    tmp_path: Path, wav: Path, flat_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = [np.full((120, 160, 3), 40 + i, np.uint8) for i in range(12)]
    clip = write_movie(tmp_path / "wall.mkv", grey)
    for args in (
        ["track", clip, "-o", tmp_path / "t.npz"],
        dub_args(clip, wav, flat_actor, tmp_path / "out.mkv"),
    ):
        line = refused(args, capsys)
        assert "wall.mkv" in line and "face" in line
    assert only(tmp_path, "wall.mkv", "new.wav")


def test_a_text_file_named_mp4(
    tmp_path: Path, wav: Path, flat_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "poem.mp4"
    clip.write_text("Tyger Tyger, burning bright\n" * 100)
    assert "poem.mp4" in refused(["track", clip, "-o", tmp_path / "t.npz"], capsys)
    assert "poem.mp4" in refused(dub_args(clip, wav, flat_actor, tmp_path / "out.mkv"), capsys)
    assert "poem.mp4" in refused(
        dub_args(tmp_path / "new.wav", clip, flat_actor, tmp_path / "out.mkv"), capsys
    )


def test_a_missing_file(
    tmp_path: Path, wav: Path, flat_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "gone.mp4" in refused(
        dub_args(tmp_path / "gone.mp4", wav, flat_actor, tmp_path / "out.mkv"), capsys
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_file(
    suffix: str, tmp_path: Path, wav: Path, flat_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_movie(tmp_path / f"whole{suffix}", portrait_pictures(20))
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    assert f"cut{suffix}" in refused(dub_args(cut, wav, flat_actor, tmp_path / "out.mkv"), capsys)
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("frames", "said"), [("7:7", "empty"), ("9:3", "empty"), ("banana", "A:B"), ("30:41", "40 frames")]
)
def test_an_empty_or_impossible_range(
    frames: str,
    said: str,
    talking: Path,
    flat_actor: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for args in (
        ["track", talking, "--frames", frames, "-o", tmp_path / "t.npz"],
        ["reenact", talking, "--actor", flat_actor, "--frames", frames, "-o", tmp_path / "o.mkv"],
        ["evaluate", talking, "--actor", flat_actor, "--frames", frames],
    ):
        assert said in refused(args, capsys)
    assert only(tmp_path)


# ---- the dialogue ------------------------------------------------------------------------------------------


def test_dialogue_without_an_audio_stream(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = write_movie(tmp_path / "silent.mkv", [np.zeros((32, 32, 3), np.uint8)] * 5)
    line = refused(dub_args(talking, silent, flat_actor, tmp_path / "out.mkv"), capsys)
    assert "silent.mkv" in line and "audio" in line


def test_a_recording_of_zero_length(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write_wav(tmp_path / "empty.wav", 0.0)
    assert "empty.wav" in refused(dub_args(talking, empty, flat_actor, tmp_path / "out.mkv"), capsys)
    (tmp_path / "nothing.wav").write_bytes(b"")
    assert "nothing.wav" in refused(
        dub_args(talking, tmp_path / "nothing.wav", flat_actor, tmp_path / "out.mkv"), capsys
    )


# ---- the actor ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["renderer.onnx", "identity.npz", "actor.json", "style.safetensors"])
@pytest.mark.parametrize("fault", ["missing", "foreign"])
def test_an_actor_folder_with_a_missing_or_foreign_file(
    name: str,
    fault: str,
    talking: Path,
    wav: Path,
    flat_actor: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    actor = Path(shutil.copytree(flat_actor, tmp_path / "ada.actor"))
    (actor / name).unlink()
    if fault == "foreign":
        (actor / name).write_text("a shopping list")
    assert name in refused(dub_args(talking, wav, actor, tmp_path / "out.mkv"), capsys)
    assert not (tmp_path / "out.mkv").exists()


def test_a_folder_that_is_no_actor(
    talking: Path, wav: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "holiday").mkdir()
    assert "holiday" in refused(dub_args(talking, wav, tmp_path / "holiday", tmp_path / "out.mkv"), capsys)


# ---- the output --------------------------------------------------------------------------------------------


def test_the_source_is_never_written_to(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = Path(shutil.copy(talking, tmp_path / "clip.mkv"))
    before = clip.read_bytes()
    assert "source" in refused(dub_args(clip, wav, flat_actor, clip), capsys)
    assert clip.read_bytes() == before


def test_an_unknown_kind_of_output(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "out.gif" in refused(dub_args(talking, wav, flat_actor, tmp_path / "out.gif"), capsys)


@contextlib.contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own; skips where that is not allowed."""
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a tmpfs needs root and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_output_folder(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if not os.access(folder, os.W_OK):
        assert "locked" in refused(dub_args(talking, wav, flat_actor, folder / "out.mkv"), capsys)
        return
    folder.rmdir()  # root may write anywhere but on a read-only file system
    with tmpfs(folder, "ro,size=64k"):
        for args in (
            dub_args(talking, wav, flat_actor, folder / "out.mkv"),
            ["track", talking, "-o", folder / "t.npz"],
        ):
            line = refused(args, capsys)
            assert "locked" in line and "read-only" in line


def test_a_full_disk(
    talking: Path, wav: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tmpfs(tmp_path / "small", "size=64k") as folder:
        line = refused(dub_args(talking, wav, flat_actor, folder / "out.mkv"), capsys)
        assert "out.mkv" in line and "space" in line.lower()
        assert only(folder)


# ---- stopped by the user -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_during_a_dub_leaves_no_half_file(
    sent: signal.Signals, talking: Path, wav: Path, flat_actor: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    long = write_movie(tmp_path / "long.mkv", portrait_pictures(40) * 10)
    args = [
        sys.executable,
        "-m",
        "visualdub.cli",
        *(str(a) for a in dub_args(long, wav, flat_actor, folder / "out.mkv")),
    ]
    # a test run in the background of a shell inherits an ignored SIGINT; a terminal's process does not
    process = subprocess.Popen(
        args, stderr=subprocess.PIPE, text=True, preexec_fn=partial(signal.signal, sent, signal.SIG_DFL)
    )
    try:
        deadline = time.monotonic() + 120
        while not list(folder.iterdir()) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert list(folder.iterdir()), "the dub never began to write"
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in said and said.strip().splitlines()[-1].startswith("vdub: ")
    assert only(folder)
