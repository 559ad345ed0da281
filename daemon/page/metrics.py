"""The service's figures in Prometheus' text format (0.0.4)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import psutil

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("queued", "running", "paused", "done", "failed", "cancelled")
Sample = tuple[dict[str, str], float]


def memory_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where it is gone."""
    with contextlib.suppress(psutil.Error):
        return int(psutil.Process(pid).memory_info().rss)
    return 0


def with_memory(status: dict[str, Any]) -> dict[str, Any]:
    """The service's status with the resident memory of its processes, bytes."""
    workers = [{**w, "memory": memory_bytes(w["pid"])} for w in status["workers"]]
    return {**status, "workers": workers, "memory": memory_bytes(status["pid"])}


def exposition(status: dict[str, Any], jobs: list[dict[str, Any]]) -> str:
    """The text that Prometheus reads. status: of `with_memory`. jobs: the newest, rows of `schema.JobRow`."""
    states = {s: 0 for s in STATES} | {str(k): int(v) for k, v in status["jobs"].items()}
    for row in jobs:
        if row["state"] in ("done", "failed", "cancelled"):
            states[row["state"]] += 1
    running = [row for row in jobs if row["state"] == "running"]
    counts = status["counts"]
    memory = [({"process": "service"}, float(status["memory"]))]
    memory += [({"process": "worker", "pid": str(w["pid"])}, float(w["memory"])) for w in status["workers"]]
    lines = [
        *_family("jobs", "gauge", "Jobs by state; ended ones among the newest.", _by("state", states)),
        *_family(
            "job_done_ratio", "gauge", "Share of its stage that a running job has done.", _ratios(running)
        ),
        *_family(
            "job_rate",
            "gauge",
            "Units per second of a running job.",
            ((_labels(r), r["rate"]) for r in running),
        ),
        *_family(
            "frames_waiting", "gauge", "Frames that clients wait for.", [({}, status["frames_waiting"])]
        ),
        *_family("cache_bytes", "gauge", "Finished frames that are kept.", [({}, status["cache_bytes"])]),
        *_family("cache_limit_bytes", "gauge", "Room for them.", [({}, status["cache_limit"])]),
        *_family("memory_bytes", "gauge", "Resident memory.", memory),
        *_family("workers", "gauge", "Worker processes.", [({}, len(status["workers"]))]),
        *_family("start_time_seconds", "gauge", "When the service was started.", [({}, status["since"])]),
        *_family("requests_total", "counter", "Requests of clients.", [({}, counts["requests"])]),
        *_family("refused_total", "counter", "Requests that were refused.", [({}, counts["refused"])]),
        *_family("frames_total", "counter", "Frames and performances given.", [({}, counts["frames"])]),
        *_family("worker_restarts_total", "counter", "Workers that ended.", [({}, counts["restarts"])]),
    ]
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> list[str]:
    full = f"visualdub_{name}"
    lines = [f"# HELP {full} {text}", f"# TYPE {full} {kind}"]
    for labels, value in samples:
        inner = ",".join(f'{k}="{_escaped(v)}"' for k, v in labels.items())
        lines.append(f"{full}{{{inner}}} {value:.10g}" if inner else f"{full} {value:.10g}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _by(label: str, values: dict[str, int]) -> list[Sample]:
    return [({label: name}, float(count)) for name, count in values.items()]


def _labels(row: dict[str, Any]) -> dict[str, str]:
    return {"job": str(row["job"]), "kind": row["kind"], "stage": row["stage"]}


def _ratios(rows: list[dict[str, Any]]) -> list[Sample]:
    return [(_labels(r), r["done"] / r["total"]) for r in rows if r["total"]]
