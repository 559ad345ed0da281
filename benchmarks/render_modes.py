"""An actor's network in eager PyTorch and in every mode that this machine has: its speed and its error."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from exporters.actor import TrainedRenderer, load_trained
from exporters.crops import Window, held_out
from exporters.onnx import export_renderer
from exporters.parity import Parity, Picture, compare, eager_pictures
from visualdub.errors import VisualDubError
from visualdub.measure.result import Finding, table
from visualdub.render.providers import (
    BF16,
    EXACT_BOUND,
    FAST_BOUND_DB,
    FP32,
    INT8,
    Execution,
    available,
    library_of,
    model_file,
    openvino_has_bf16,
)
from visualdub.render.sessions import Session, open_session
from visualdub.stages import mapped

EXACT_GOAL, FAST_GOAL = 1.5, 2.5  # times eager PyTorch


@dataclass(frozen=True)
class Mode:
    """One way to render a window."""

    name: str
    exact: bool
    run: Callable[[Window], Picture]
    at_once: int = 1  # windows that are rendered at the same time


@dataclass(frozen=True)
class Measured:
    """One mode on one number of threads."""

    mode: Mode
    frames_per_second: float  # finished frames by the fastest of all rounds
    times_eager: float
    parity: Parity


def eager_mode(trained: TrainedRenderer, threads: int | None) -> Mode:
    """PyTorch in eager mode, a window at a time."""

    def run(window: Window) -> Picture:
        torch.set_num_threads(threads or os.cpu_count() or 1)
        return eager_pictures(trained.renderer, [window])[0]

    return Mode("eager", True, run)


def export_all(trained: TrainedRenderer, folder: Path) -> list[str]:
    """Write the renderer in every precision that CPUs compute in; what was refused, a sentence each."""
    refused = []
    for precision in (FP32, INT8):
        path = model_file(folder / "renderer.onnx", precision)
        try:
            export_renderer(trained.renderer, path, trained.windows, trained.about, precision)
        except VisualDubError as e:
            refused.append(str(e))
    return refused


def runtime_modes(folder: Path, threads: int | None) -> list[Mode]:
    """The exact mode and the fast ones of each provider for CPUs that is installed. threads: None = as a dub
    has them, all cores and as many windows at once as the session takes.
    """
    modes = []
    for provider in ("cpu", "openvino"):
        precisions = (FP32, INT8, *((BF16,) if provider == "openvino" and openvino_has_bf16() else ()))
        for precision in precisions if provider in available() else ():
            path = model_file(folder / "renderer.onnx", precision)
            if not path.is_file():
                continue
            session = open_session(path, Execution(provider, precision, library_of(provider)), threads)
            name = f"{'onnx' if provider == 'cpu' else provider} {precision}"
            modes.append(Mode(name, precision == FP32, partial(_run, session), session.at_once))
    return modes


def _run(session: Session, window: Window) -> Picture:
    return session.run(window.feed, "rgb")


def measure(
    modes: Sequence[Mode], windows: Sequence[Window], rounds: int, threads: int | None
) -> list[Measured]:
    """Every mode, the first of which is eager PyTorch. They take turns, so that what else the machine does
    meets all of them; the fastest round of each counts. One thread is measured in processor time, several
    in wall time.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    pictures = [[mode.run(w) for w in windows] for mode in modes]
    fastest = [float("inf")] * len(modes)
    for _ in range(rounds):
        for i, mode in enumerate(modes):
            start = clock()
            list(mapped(mode.run, [windows[0]] * mode.at_once, mode.at_once))
            fastest[i] = min(fastest[i], (clock() - start) / mode.at_once)
    masks = [w.feed["mask"] for w in windows]
    new_frames = windows[0].frames.shape[0] - 1  # of a window; one is shared with the window before
    return [
        Measured(mode, new_frames / seconds, fastest[0] / seconds, compare(pictures[0], own, masks))
        for mode, seconds, own in zip(modes, fastest, pictures, strict=True)
    ]


def modes_report(
    actor: Path, rounds: int, thread_counts: Sequence[int]
) -> tuple[list[str], list[Finding], dict[str, float | int | str]]:
    """Paragraphs, rows of the README's table and figures of the actor package `actor`: a table for each of
    `thread_counts` and one for all cores as a dub uses them.
    """
    text, figures, best = [], dict[str, float | int | str](), dict[bool, Measured]()
    with tempfile.TemporaryDirectory() as name:
        folder, trained = Path(name), load_trained(actor)
        refused = export_all(trained, folder)
        for threads in (*thread_counts, None):
            modes = [eager_mode(trained, threads), *runtime_modes(folder, threads)]
            measured = measure(modes, held_out(trained.windows), rounds, threads)
            where = f"{threads} thread{'s' * (threads > 1)}" if threads else "as a dub uses the cores"
            text.append(modes_table(measured, where))
            for m in measured[1:]:
                figures[f"{m.mode.name} {where}, frames/s"] = round(m.frames_per_second, 2)
                figures[f"{m.mode.name} {where}, times eager"] = round(m.times_eager, 2)
                best_so_far = best.get(m.mode.exact)
                if best_so_far is None or m.times_eager > best_so_far.times_eager:
                    best[m.mode.exact] = m
    libraries = ", ".join(library_of(p) for p in ("cpu", "openvino") if p in available())
    bf16 = "compute in bf16" if openvino_has_bf16() else "have no bf16, or OpenVINO is missing"
    text.insert(
        0,
        f"{actor.name}: PyTorch {torch.__version__}, {libraries}; {os.cpu_count()} cores, which {bf16}."
        f" {len(held_out(trained.windows))} windows of the actor's own crops,"
        f" the fastest of {rounds} rounds in turn;"
        " one thread by its processor time, several by the clock.",
    )
    text += [f"Refused: {reason}." for reason in refused]
    findings = [
        Finding(
            f"{'exact' if exact else 'fast'} mode against eager PyTorch ({best[exact].mode.name})",
            f">= {goal} times",
            f"{best[exact].times_eager:.2f} times, {best[exact].frames_per_second:.1f} frames/s",
        )
        for exact, goal in ((True, EXACT_GOAL), (False, FAST_GOAL))
        if exact in best
    ]
    return text, findings, figures


def modes_table(measured: Sequence[Measured], where: str) -> str:
    """The table of one number of threads."""
    bounds = {True: f"worst pixel {EXACT_BOUND:g}", False: f"{FAST_BOUND_DB:g} dB in the mask"}
    rows = [
        (
            m.mode.name + (f", {m.mode.at_once} windows at once" if m.mode.at_once > 1 else ""),
            f"{m.frames_per_second:.1f}",
            f"{m.times_eager:.2f}",
            f"{m.parity.psnr_mask:.1f}",
            f"{m.parity.worst:.2g}",
            bounds[m.mode.exact],
        )
        for m in measured
    ]
    columns = ("finished frames/s", "times eager", "PSNR in the mask, dB", "worst pixel", "bound")
    return table((where, *columns), rows)
