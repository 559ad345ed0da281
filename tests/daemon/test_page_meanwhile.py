"""The page while something changes under it: a performance that is replaced, files that are gone, a service
that does not answer.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from daemon_helpers import short_folder
from page_helpers import Browser, opened, queued

pytest.importorskip("starlette", reason="starlette is not installed; the page needs it")
pytest.importorskip("uvicorn", reason="uvicorn is not installed; the page needs it")

from daemon.disk import keep_performance, kept_performances
from daemon.page.shots import Clients
from daemon.service import Service

FRAMES = 40


def performance(jaw: float, frames: int = FRAMES) -> bytes:
    """What the page reads of a performance file."""
    curves = [{"frame": i, "phone": "SIL", "draw": 1.0, "jaw": jaw} for i in range(frames)]
    return json.dumps({"format": "visualdub performance", "curves": curves}).encode()


def tracked(service: Service, folder: Path) -> int:
    """A job with the files that a worker writes once its shot is tracked."""
    job = queued(service, folder)
    own = service.config.job_folder(job)
    own.mkdir(parents=True)
    facts: dict[str, Any] = {
        "clip": str(folder / "gone.mkv"),
        "dialogue": str(folder / "gone.wav"),
        "place_s": 0.0,
        "frames": f"0:{FRAMES}",
        "start_s": 0.0,
        "rate": "25",
        "times": [i / 25 for i in range(FRAMES)],
        "width": 320,
        "height": 240,
        "passed": [None] * FRAMES,
        "occluded": [None] * FRAMES,
        "confidence": [1.0] * FRAMES,
        "enlarged": [1.0] * FRAMES,
        "boxes": [[0, 0, 8, 8]] * FRAMES,
    }
    (own / "shot.json").write_text(json.dumps(facts))
    (own / "performance.json").write_bytes(performance(0.0))
    return job


def test_a_shot_is_shown_while_its_performance_is_edited(
    page: Browser, service: Service, tmp_path: Path
) -> None:
    job = tracked(service, tmp_path)
    own, over = service.config.job_folder(job), threading.Event()

    def edit() -> None:
        for i in range(1, 1000):
            if over.is_set():
                return
            keep_performance(own, performance(float(i), frames=2000))

    editing = threading.Thread(target=edit)
    editing.start()
    try:
        answers, end = [], time.monotonic() + 60
        while len(answers) < 25 or (len(set(answers)) < 5 and time.monotonic() < end):
            answers.append(page.ask(f"api/jobs/{job}/shot")[:2])
    finally:
        over.set()
        editing.join()
    assert {status for status, _ in answers} == {200}, [c for s, c in answers if s != 200]
    seen = [json.loads(content)["performance"]["curves"] for _, content in answers]
    assert all(len({row["jaw"] for row in rows}) == 1 for rows in seen)
    shown = [rows[0]["jaw"] for rows in seen]
    assert shown == sorted(shown) and shown[-1] > shown[0]


def test_an_edit_that_is_removed_after_it_was_listed_is_no_error(
    page: Browser, service: Service, tmp_path: Path
) -> None:
    job = tracked(service, tmp_path)
    own = service.config.job_folder(job)
    (own / "edited-00000000.json").symlink_to(own / "removed")  # it is in the list, and gone when looked at
    assert page.json(f"api/jobs/{job}/shot")["performance"]["curves"][0]["jaw"] == 0.0
    _, line, _ = page.ask("api/events")
    assert [row["job"] for row in json.loads(line[6:])["jobs"]] == [job]


def test_the_last_edit_counts_and_others_stay_while_frames_of_them_are_drawn(tmp_path: Path) -> None:
    paths = [keep_performance(tmp_path, f"{i}".encode()) for i in range(20)]  # faster than clocks of files
    kept = kept_performances(tmp_path)
    assert [str(path) for _, path in kept] == paths
    assert len({made for made, _ in kept}) == 20
    for path in paths[:10]:
        os.utime(path, ns=(0, 0))
    last = keep_performance(tmp_path, b"last")
    assert [str(path) for _, path in kept_performances(tmp_path)] == [*paths[10:], last]


@pytest.mark.parametrize("asked", ["frames/3", "frames/400", "sound?start=0&length=1", "peaks"])
def test_what_is_gone_is_not_found(page: Browser, service: Service, tmp_path: Path, asked: str) -> None:
    job = tracked(service, tmp_path)
    status, content, _ = page.ask(f"api/jobs/{job}/{asked}")
    assert status == 404, content


def test_a_service_that_does_not_answer_is_named_to_the_page_and_in_its_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with short_folder() as short, opened(service) as running:
        running.page.shots.clients = Clients(f"ipc://{short}/nobody", timeout_s=0.1)
        with caplog.at_level(logging.ERROR, "daemon.page"):
            status, content, _ = Browser(running.address).ask("api/jobs/7/shot")
    assert status == 502 and "nobody answers" in json.loads(content)["error"]
    assert any(
        "GET /api/jobs/7/shot is answered 502: nobody answers" in r.getMessage() for r in caplog.records
    )
