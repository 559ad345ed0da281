"""Which execution provider a renderer runs on, in which precision, and what is said of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_runtime import S, T, tiny_model

from visualdub.errors import BadInput
from visualdub.render import providers
from visualdub.render.providers import (
    EXACT_ORDER,
    MACHINE_DEPENDENT,
    PROVIDERS,
    Execution,
    RuntimeChoice,
    available,
    candidates,
    has_openvino_package,
    model_file,
    openvino_has_bf16,
    openvino_plugin_devices,
)
from visualdub.render.runtime import Renderer
from visualdub.render.sessions import (
    OpenVinoSession,
    compiled_entry,
    openvino_settings,
    ort_options,
    shared_cores,
)
from visualdub.stages import mapped
from visualdub.storage import cache_entries, clear_cache

needs_openvino = pytest.mark.skipif(
    not has_openvino_package(), reason="the package openvino is not installed"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model(tmp_path / "renderer.onnx")


def installed(monkeypatch: pytest.MonkeyPatch, *names: str, bf16: bool = False) -> None:
    """Only the providers `names` are on this machine."""
    monkeypatch.setattr(providers, "available", lambda: names)
    monkeypatch.setattr(providers, "openvino_has_bf16", lambda: bf16)


def window() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = (rng.random((T, S, S)) > 0.5).astype(np.float32)
    return rng.integers(0, 256, (T, S, S, 3)).astype(np.uint8), rng.random((T, S, S, 2), np.float32), mask


# ---- which is taken ----------------------------------------------------------------------------------------


def test_exact_is_fp32_on_the_first_that_is_installed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "tensorrt", "cuda", "openvino", "cpu")
    assert candidates(RuntimeChoice(), model) == [("cuda", "fp32"), ("cpu", "fp32")]
    assert candidates(RuntimeChoice("openvino"), model) == [("openvino", "fp32")]
    installed(monkeypatch, "openvino", "cpu")
    assert candidates(RuntimeChoice(), model) == [("cpu", "fp32")]


def test_fast_takes_what_was_exported_and_bf16_only_where_a_core_has_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, "cuda", "openvino", "cpu", bf16=True)
    assert candidates(RuntimeChoice(fast=True), model) == [("openvino", "bf16")]
    shutil.copy(model, model_file(model, "int8"))
    assert candidates(RuntimeChoice(fast=True), model) == [
        ("openvino", "int8"),
        ("openvino", "bf16"),
        ("cpu", "int8"),
    ]
    shutil.copy(model, model_file(model, "fp16"))
    assert candidates(RuntimeChoice(fast=True), model)[0] == ("cuda", "fp16")
    installed(monkeypatch, "openvino", "cpu", bf16=False)
    assert candidates(RuntimeChoice(fast=True), model) == [("openvino", "int8"), ("cpu", "int8")]


def test_fast_without_its_export_says_which_command_writes_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, "openvino", "cpu")
    with pytest.raises(BadInput, match=r"holds no renderer\.int8\.onnx.*vdub export .* --precision int8"):
        Renderer(model, choice=RuntimeChoice(fast=True))


def test_a_provider_that_is_not_here_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="--provider 'quantum' is none; expected one of tensorrt, cuda, "):
        RuntimeChoice("quantum")
    installed(monkeypatch, "cpu")
    with pytest.raises(BadInput, match="--provider cuda is not installed; expected one of cpu"):
        Renderer(model, choice=RuntimeChoice("cuda"))


def test_a_provider_that_is_installed_and_does_not_start(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wheel for GPUs offers CUDA on machines without one, and falls back to the CPU in silence."""
    if "CUDAExecutionProvider" in available():
        pytest.skip("CUDA is here")
    installed(monkeypatch, "cuda", "cpu")
    assert Renderer(model).execution.provider == "cpu"
    with pytest.raises(BadInput, match=r"no provider of this machine starts \(cuda: ONNX Runtime fell back"):
        Renderer(model, choice=RuntimeChoice("cuda"))


def test_what_is_installed_is_known_by_name() -> None:
    assert available()[-1] == "cpu" and set(available()) <= set(PROVIDERS)
    assert set(EXACT_ORDER) <= set(PROVIDERS)


# ---- what is said of it ------------------------------------------------------------------------------------


def test_the_record_says_mode_and_precision(model: Path) -> None:
    exact = Renderer(model, threads=1).execution
    assert (exact.provider, exact.precision, exact.mode) == ("cpu", "fp32", "exact")
    assert exact.library.startswith("ONNX Runtime 1.") and "note" not in exact.as_dict()
    shutil.copy(model, model_file(model, "int8"))
    renderer = Renderer(model, threads=1, choice=RuntimeChoice("cpu", fast=True))
    assert renderer.model_path.name == "renderer.int8.onnx"
    assert renderer.execution.as_dict() == {
        "provider": "cpu",
        "precision": "int8",
        "library": exact.library,
        "mode": "fast",
        "note": MACHINE_DEPENDENT,
    }


# ---- how it is opened --------------------------------------------------------------------------------------


def test_the_precision_is_always_said(model: Path) -> None:
    """OpenVINO takes bf16 and CUDA takes TF32 by itself, where the hardware has it."""
    for precision, hint in (("fp32", "f32"), ("int8", "f32"), ("bf16", "bf16")):
        settings = openvino_settings(Execution("openvino", precision, "OpenVINO"), 1)
        assert settings["INFERENCE_PRECISION_HINT"] == hint and settings["INFERENCE_NUM_THREADS"] == "1"
    assert ort_options(model, Execution("cuda", "fp32", "")) == {"use_tf32": "0"}
    coreml = ort_options(model, Execution("coreml", "fp32", ""))
    assert coreml["MLComputeUnits"] == "CPUOnly"


def test_a_tensorrt_engine_lies_in_the_cache(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path / "cache"))
    options = ort_options(model, Execution("tensorrt", "fp16", "ONNX Runtime 1.32.0"))
    assert options["trt_fp16_enable"] == "1" and options["trt_engine_cache_path"].endswith("compiled")
    engine = Path(options["trt_engine_cache_path"]) / f"{options['trt_engine_cache_prefix']}_0_sm90.engine"
    engine.write_bytes(b"engine")
    assert [e.path for e in cache_entries()] == [engine] and len(clear_cache()) == 1
    other = ort_options(model, Execution("tensorrt", "fp16", "ONNX Runtime 1.33.0"))
    assert other["trt_engine_cache_prefix"] != options["trt_engine_cache_prefix"]


@pytest.mark.parametrize("provider", ["cpu", pytest.param("openvino", marks=needs_openvino)])
def test_windows_that_are_rendered_at_once_do_not_mix(provider: str, flat_actor: Path) -> None:
    """On the machine's cores two at a time; each is the one that is rendered alone."""
    renderer = Renderer(flat_actor / "renderer.onnx", choice=RuntimeChoice(provider))
    assert renderer.at_once == shared_cores()[0] <= 2
    rng, t, s = np.random.default_rng(0), renderer.window, renderer.size
    crop, mask = rng.integers(0, 256, (t, s, s, 3)).astype(np.uint8), np.ones((t, s, s), np.float32)
    maps = [rng.random((t, s, s, 2), np.float32) for _ in range(4)]
    alone = [renderer.render(crop, uv, mask) for uv in maps]
    together = list(mapped(lambda uv: renderer.render(crop, uv, mask), maps * 3, 2))
    assert all(np.array_equal(rgb, alone[k % 4]) for k, (_, rgb) in enumerate(together))
    assert not np.array_equal(alone[0], alone[1])


@needs_openvino
def test_openvino_renders_what_onnx_runtime_does_and_compiles_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path / "cache"))
    expected = Renderer(model, threads=1).render(*window())
    pictures, cached = [], []
    for _ in range(2):
        renderer = Renderer(model, threads=1, choice=RuntimeChoice("openvino"))
        assert isinstance(renderer._session, OpenVinoSession)
        assert (renderer.window, renderer.size) == (T, S) and "float32" in renderer._session.precision
        cached.append(renderer._session.from_cache)
        pictures.append(renderer.render(*window()))
    assert cached == [False, True]
    assert np.array_equal(*pictures) and np.abs(pictures[0] - expected).max() < 1e-6
    (kept,) = (e.path for e in cache_entries() if e.kind == "compiled")
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")  # damaged: it is compiled again
    assert not Renderer(model, threads=1, choice=RuntimeChoice("openvino"))._session.from_cache  # type: ignore[attr-defined]


@needs_openvino
def test_openvino_tells_nobody_that_it_was_imported() -> None:
    """Its telemetry starts a process that opens a connection, at every import."""
    script = (
        "import sys; from visualdub.render.providers import openvino_core; openvino_core();"
        "print(sorted(m for m in sys.modules if m.startswith('openvino_telemetry.')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["[]"], done.stderr


@needs_openvino
def test_ctrl_c_after_two_renderers_is_a_signal_like_any_other(model: Path) -> None:
    script = (
        "import signal; from pathlib import Path; from visualdub.render.runtime import Renderer\n"
        "from visualdub.render.providers import RuntimeChoice\n"
        f"opened = lambda: Renderer(Path({str(model)!r}), threads=1, choice=RuntimeChoice('openvino'))\n"
        "first = opened(); second = opened(); del first; del second\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled')); signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["handled"]), done.stderr


@needs_openvino
def test_a_picture_of_openvino_is_not_overwritten_by_the_next(model: Path) -> None:
    renderer = Renderer(model, threads=1, choice=RuntimeChoice("openvino"))
    frames, uv, mask = window()
    first = renderer.render(frames, uv, mask)
    kept = first.copy()
    renderer.render(255 - frames, uv, mask)
    assert np.array_equal(first, kept)


@needs_openvino
def test_a_file_that_is_no_network_gets_one_line(tmp_path: Path) -> None:
    text = tmp_path / "renderer.onnx"
    text.write_text("not a graph")
    with pytest.raises(BadInput, match="not a renderer that OpenVINO") as e:
        Renderer(text, choice=RuntimeChoice("openvino"))
    assert "\n" not in str(e.value)


@pytest.mark.skipif(not openvino_plugin_devices(), reason="onnxruntime-ep-openvino offers no device here")
def test_onnx_runtimes_plugin_of_openvino(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from visualdub.render import sessions

    monkeypatch.setattr(sessions, "has_openvino_package", lambda: False)
    renderer = Renderer(model, threads=1, choice=RuntimeChoice("openvino"))
    assert renderer.providers[0] == "OpenVINOExecutionProvider"
    expected = Renderer(model, threads=1).render(*window())
    assert np.abs(renderer.render(*window()) - expected).max() < 1e-6


@pytest.mark.skipif(
    not openvino_has_bf16(), reason="this processor has no bf16, or OpenVINO is not installed"
)
def test_bf16_is_computed_where_a_core_has_it(model: Path) -> None:
    renderer = Renderer(model, threads=1, choice=RuntimeChoice("openvino", fast=True))
    assert renderer.execution.precision == "bf16"


def test_a_compiled_model_is_kept_by_its_bytes_library_and_precision(model: Path, tmp_path: Path) -> None:
    execution = Execution("openvino", "fp32", "OpenVINO 1")
    where = compiled_entry(model, execution, "cpu")
    assert compiled_entry(Path(shutil.copy(model, tmp_path / "copy.onnx")), execution, "cpu") == where
    others = [Execution("openvino", "int8", "OpenVINO 1"), Execution("openvino", "fp32", "OpenVINO 2")]
    assert (
        len({where, *(compiled_entry(model, e, "cpu") for e in others), compiled_entry(model, execution)})
        == 4
    )
    tiny_model(model, output="other")
    assert compiled_entry(model, execution, "cpu") != where


# ---- in a shot ---------------------------------------------------------------------------------------------


def test_a_frames_key_says_what_it_was_drawn_on(talking: Path, flat_actor: Path) -> None:
    """The network in fp32 on the CPU gives the key that it always gave; another precision gives another one,
    and the file that it was drawn with is the actor's hash in it.
    """
    from visualdub.actor.package import load_actor
    from visualdub.dub import track_shot
    from visualdub.edit import plan_shot
    from visualdub.face.track import Performance
    from visualdub.render.shot_renderer import ShotRenderer

    shot = track_shot(plan_shot(talking))
    int8 = model_file(flat_actor / "renderer.onnx", "int8")
    try:
        shutil.copy(flat_actor / "renderer.onnx", int8)
        keys = []
        for choice in (RuntimeChoice(), RuntimeChoice("cpu"), RuntimeChoice("cpu", fast=True)):
            actor = load_actor(flat_actor, choice)
            made = ShotRenderer(
                shot.shot, actor, track=shot.track, performance=Performance.of_track(shot.track)
            )
            keys.append(made.key(0))
    finally:
        int8.unlink()
    assert keys[0] == keys[1] and keys[0].options != keys[2].options
    with pytest.raises(BadInput, match="which the fast mode needs"):
        load_actor(flat_actor, RuntimeChoice("cpu", fast=True))


def test_dub_says_what_it_ran_on_and_refuses_what_is_not_here(
    talking: Path, flat_actor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from helpers import write_wav

    from visualdub.cli import run
    from visualdub.records import read_provenance

    wav, out = write_wav(tmp_path / "new.wav", 1.0), tmp_path / "dub.mkv"
    common = ["dub", str(talking), "--dialogue", str(wav), "--frames", "4:6", "-o", str(out)]
    assert run([*common, "--actor", str(flat_actor), "--provider", "cpu"]) == 0
    record = read_provenance(out).renderer
    assert record is not None and (record["provider"], record["mode"]) == ("cpu", "exact")
    out.unlink()
    assert run([*common, "--actor", str(flat_actor), "--provider", "directml"]) == 2
    assert "--provider directml is not installed" in " ".join(capsys.readouterr().err.split())
    assert run([*common, "--consent", "me, today, tests", "--fast"]) == 2
    assert "--fast needs an actor that was exported for it" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
