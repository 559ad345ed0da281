"""Names of any kind, places that cannot be written to, two runs at once, and stops at any moment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from helpers import write_wav

from visualdub import cli
from visualdub.actor.package import load_actor
from visualdub.media.source import probe
from visualdub.records import SIDECARS, read_provenance

Case = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]
VDUB = (sys.executable, "-m", "visualdub.cli")
FEW = ("--only", "0:3")  # frames are drawn, where it is not the drawing that is tested


def dub(clip: Path, dialogue: Path, actor: Path, output: Path, *more: str) -> list[str]:
    """The arguments of a dub."""
    named = ["--dialogue", str(dialogue), "--actor", str(actor), "-o", str(output)]
    return ["dub", str(clip), *named, *more]


def vdub(
    args: Sequence[str], before: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """`vdub` as a program of its own. before: a command that starts it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [*before, *VDUB, *args]
    place = environment["PYTHONPATH"]  # Python takes modules from the current folder first
    return subprocess.run(command, env=environment, cwd=place, capture_output=True, timeout=300, check=False)


def start(args: Sequence[str], first: Path = ROOT, **environment: str) -> subprocess.Popen[str]:
    """`vdub` as a program that hears signals, which the background of a shell does not. first: where modules
    are looked for before the checkout.
    """

    def hear() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [*VDUB, *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(first), str(ROOT))), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear,
    )


def wait_for(there: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until `there` is true or the process has ended."""
    deadline = time.monotonic() + 120
    while not there() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def contents(folder: Path) -> dict[str, bytes]:
    """All files in `folder`."""
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def without_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracking is a failure from now on."""

    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("the clip is tracked")

    monkeypatch.setattr("visualdub.face.tracker.track_clip", forbidden)


# ---- names -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_names_that_are_not_utf8(case: Case, demo_actor: Path, tmp_path: Path) -> None:
    folder = case("name_not_utf8")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xe9"))
    odd.mkdir()
    clip, voice, actor = odd / os.fsdecode(b"caf\xe9.mp4"), odd / "v\udce9.wav", odd / "a\udce9.actor"
    shutil.copy(folder / "b25.mp4", clip)
    shutil.copy(folder / "fr2.wav", voice)
    shutil.copytree(demo_actor, actor)
    out, curves = odd / "o\udce9.mkv", odd / "c\udce9.json"
    more = ["--performance", str(curves), "--matte", str(odd / "m\udce9.mkv")]
    done = vdub([*dub(clip, voice, actor, out, *more, *FEW), "--json"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"][0]["source"] == str(clip)
    assert read_provenance(out).source == clip.name and probe(out).frame_count == 25
    assert json.loads(curves.read_text())["clip"] == clip.name
    more = ["--use-performance", str(curves), *FEW]
    said = vdub(dub(clip, voice, actor, odd / "again\udce9.mkv", *more))
    assert said.returncode == 0 and rb"again\udce9.mkv: 25 frames" in said.stdout
    assert not [p for p in odd.iterdir() if p.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [["track", "{clip}"], ["sync", "{clip}"], ["actor", "show", "{actor}"], ["actor", "list", "{odd}"]],
)
def test_every_command_says_names_that_are_not_utf8(
    args: list[str], case: Case, demo_actor: Path, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xe9"))
    odd.mkdir()
    shutil.copy(case("two_runs_one_output") / "base.mp4", odd / "b\udce9.mp4")
    shutil.copytree(demo_actor, odd / "a\udce9.actor")
    names = {"clip": odd / "b\udce9.mp4", "actor": odd / "a\udce9.actor", "odd": odd}
    more = ["-o", str(odd / "t\udce9.npz")] if args[0] == "track" else []
    for encoding in ("utf-8", "ascii"):
        done = vdub([*(a.format(**names) for a in args), *more], PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr and done.stdout


def test_a_name_too_long_for_its_records_is_refused_before_the_work(
    case: Case,
    demo_actor: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = case("name_too_long")
    without_tracking(monkeypatch)
    out = tmp_path / "out"
    out.mkdir()
    args = dub(folder / "b25.mp4", folder / "fr2.wav", demo_actor, out / ("完" * 77 + ".mkv"))
    assert cli.run(args) == 2
    assert "the name has 235 bytes; expected at most 221" in capsys.readouterr().err
    long = out / ("x" * 240)
    for more in (["--matte", f"{long}.mkv"], ["--performance", f"{long}.json"]):
        assert cli.run([*dub(folder / "b25.mp4", folder / "fr2.wav", demo_actor, out / "a.mkv"), *more]) == 2
        assert "expected at most 237" in capsys.readouterr().err
    assert cli.run(["track", str(folder / "b25.mp4"), "-o", f"{long}.npz"]) == 2
    assert cli.run(["adapt", str(folder / "b25.mp4"), "--actor", "x" * 240, "--consent", "a,b,c"]) == 2
    assert list(out.iterdir()) == []


# ---- what is printed ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_json_on_a_terminal_that_is_ascii(case: Case, demo_actor: Path) -> None:
    folder = case("json_ascii_stdout")
    clip = Path(shutil.copy(folder / "b25.mp4", folder / "日本.mp4"))
    args = dub(clip, folder / "fr2.wav", demo_actor, folder / "out.mkv", *FEW)
    done = vdub([*args, "--json"], PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("ascii"))["outputs"][0]["source"] == str(clip)
    table = vdub([*args, "--profile"], PYTHONIOENCODING="ascii", FORCE_COLOR="1")
    assert table.returncode == 0 and b"frames/s" in table.stdout and b"Traceback" not in table.stderr


@pytest.mark.slow
@pytest.mark.parametrize("args", [["--help"], ["dub", "--help"], ["cache", "show"], ["doctor"]])
def test_text_on_a_terminal_that_is_ascii(args: list[str]) -> None:
    done = vdub(args, PYTHONIOENCODING="ascii:strict", FORCE_COLOR="1")
    assert done.returncode in (0, 1) and b"Traceback" not in done.stderr and done.stdout.isascii()


# ---- places ------------------------------------------------------------------------------------------------


def test_the_dialogue_is_never_written_to(
    case: Case, demo_actor: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = case("output_is_the_dialogue")
    before = contents(folder)
    voice = folder / "d_v.mov"
    assert cli.run(dub(folder / "b25.mp4", voice, demo_actor, voice)) == 2
    assert f"{voice} is the same file as {voice}" in capsys.readouterr().err
    wav = folder / "fr.wav"
    args = dub(folder / "b25.mp4", wav, demo_actor, folder / "out.mkv", "--performance", str(wav))
    assert cli.run(args) == 2
    assert "is the same file as" in capsys.readouterr().err
    assert contents(folder) == before


READ_ONLY = 'for d in {}; do mount --bind $d $d && mount -o remount,ro,bind $d || exit 99; done; exec "$@"'


@pytest.mark.slow
def test_an_installation_and_a_home_that_are_read_only(case: Case, demo_actor: Path, tmp_path: Path) -> None:
    folder = case("read_only_install")
    install, home, cache = (tmp_path / name for name in ("install", "home", "cache"))
    home.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "visualdub", install / "visualdub", ignore=ignored)
    script = READ_ONLY.format(f"{install} {home}")
    before = ["unshare", "-rm", "sh", "-c", script, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*before, "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount a folder read-only")
    places = {"PYTHONPATH": str(install), "HOME": str(home), "VISUALDUB_CACHE": str(cache)}
    places |= {"XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": "", "MPLCONFIGDIR": ""}
    args = dub(folder / "b25.mp4", folder / "fr2.wav", demo_actor, folder / "out.mkv", *FEW)
    done = vdub(args, before, **places)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert probe(folder / "out.mkv").frame_count == 25
    assert list((cache / "kernels").rglob("*.nbi")), "compiled kernels are kept for the next run"
    nowhere = {**places, "VISUALDUB_CACHE": str(home / "cache")}  # nothing at all can be kept
    done = vdub(args, before, **nowhere)
    assert done.returncode == 0 and b"Traceback" not in done.stderr


def test_onnx_runtime_keeps_no_record_of_its_use(tmp_path: Path) -> None:
    code = "import visualdub.render.runtime, visualdub.speech.predict"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": "", "PYTHONPATH": str(ROOT)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)
    assert [p for p in tmp_path.rglob("*") if "icrosoft" in str(p)] == []


# ---- two runs at once --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_runs_with_one_output(case: Case, demo_actor: Path) -> None:
    folder = case("two_runs_one_output")
    out = folder / "same.mkv"
    first, second = (
        start(dub(folder / f"{name}.mp4", folder / "fr2.wav", demo_actor, out)) for name in ("base", "b25")
    )
    said = [process.communicate(timeout=300)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), said
    record = read_provenance(out)
    report = json.loads(out.with_name(f"same.mkv{SIDECARS[0]}").read_text())
    assert Path(report["source"]).name == record.source and probe(out).frame_count == report["frames"]
    assert report["frames"] == probe(folder / record.source).frame_count
    assert sorted(p.name for p in folder.iterdir() if "same" in p.name or p.name.startswith(".")) == sorted(
        ["same.mkv", *(f"same.mkv{s}" for s in SIDECARS)]
    )


@pytest.mark.slow
def test_two_adaptations_into_one_package(case: Case, tmp_path: Path) -> None:
    clip, folder = case("two_runs_one_output") / "b25.mp4", tmp_path / "actors" / "ada.actor"
    args = ["adapt", str(clip), "--actor", "ada", "--consent", "a,b,c", "--steps", "2", "-o", str(folder)]
    first = start(args)
    wait_for(lambda: (folder.parent / ".ada.actor.lock").exists(), first)
    second = start(args)
    said = [process.communicate(timeout=300)[1] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 2), said
    assert "is being written by another run" in said[1]
    assert load_actor(folder).record.steps == 2
    assert [p.name for p in folder.parent.iterdir()] == ["ada.actor"]


# ---- stops -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ((signal.SIGINT,), 130),
        ((signal.SIGTERM,), 143),
        ((signal.SIGINT,) * 2, 130),
        ((signal.SIGTERM,) * 3, 143),
    ],
)
def test_a_stop_while_the_movie_is_written(
    sent: tuple[signal.Signals, ...], status: int, case: Case, demo_actor: Path, tmp_path: Path
) -> None:
    folder, out = case("ctrl_c_status"), tmp_path / "out"
    out.mkdir()
    process = start(dub(folder / "base.mp4", folder / "fr2.wav", demo_actor, out / "out.mkv"))
    wait_for(lambda: list(out.iterdir()), process)
    for number in sent:
        process.send_signal(number)
        time.sleep(0.01)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == status, said
    assert "Traceback" not in said and said.strip().splitlines()[-1] == "vdub: stopped"
    assert list(out.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("loading", ["typer", "mediapipe"])  # before `main` runs, and in a command
def test_a_stop_while_modules_are_loaded(
    loading: str, sent: signal.Signals, status: int, case: Case, tmp_path: Path
) -> None:
    (tmp_path / f"{loading}.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {int(sent)})\ntime.sleep(9)"
    )
    clip, out = case("name_not_utf8") / "b25.mp4", tmp_path / "t.npz"
    process = start(["track", str(clip), "-o", str(out)], tmp_path, VISUALDUB_CACHE=str(tmp_path / "cache"))
    said = process.communicate(timeout=60)[1]
    assert process.returncode == status and "Traceback" not in said
    assert not out.exists()


@pytest.mark.slow
def test_a_dub_that_fails_keeps_the_earlier_one(
    case: Case, demo_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = case("failed_redub_keeps_old_record"), tmp_path / "out"
    out.mkdir()
    good = dub(folder / "b25.mp4", folder / "fr.wav", demo_actor, out / "out.mp4")
    assert cli.run(good) == 0
    before = contents(out)
    assert sorted(before) == ["out.mp4", "out.mp4.provenance.json", "out.mp4.report.json"]
    capsys.readouterr()
    bad = dub(folder / "b25.mp4", folder / "d_poly4.wav", demo_actor, out / "out.mp4")
    if cli.run(bad):  # a recording that cannot be muxed today may be tomorrow
        assert capsys.readouterr().err.strip().splitlines()[-1].startswith(f"vdub: {out / 'out.mp4'}")
        assert contents(out) == before
    before = contents(out)
    for sent, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = start(good)
        wait_for(lambda: len(list(out.iterdir())) > len(before), process)
        process.send_signal(sent)
        said = process.communicate(timeout=60)[1]
        assert process.returncode in (status, 0), said
        if process.returncode:
            assert contents(out) == before
        assert sorted(contents(out)) == sorted(before)


@pytest.mark.slow
def test_an_edited_performance_is_written_with_its_movie_or_not_at_all(
    flat_actor: Path, talking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from visualdub.errors import OutputError

    def full(*args: object, **kwargs: object) -> None:
        raise OutputError("no room")

    curves, out = tmp_path / "curves.json", tmp_path / "out.mkv"
    wav = write_wav(tmp_path / "a.wav", 1.0)
    args = dub(talking, wav, flat_actor, out, "--performance", str(curves))
    curves.write_text("an earlier one")
    with monkeypatch.context() as patch:
        patch.setattr("visualdub.dub.write_provenance", full)
        assert cli.run(args) == 2
    assert curves.read_text() == "an earlier one" and sorted(contents(tmp_path)) == ["a.wav", "curves.json"]
    assert cli.run(args) == 0
    assert json.loads(curves.read_text())["clip"] == talking.name and out.is_file()
