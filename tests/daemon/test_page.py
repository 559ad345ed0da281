"""The page without a browser: who is refused, what requests do, flags, figures, metrics and logs."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from daemon_helpers import short_folder
from page_helpers import Browser, queued
from test_service_commands import VDUB

from daemon.service import Service
from daemon.structured_log import JsonLines
from visualdub.errors import BadInput
from visualdub.media.frame import Frame
from visualdub.media.source import open_source
from visualdub.render.shot_renderer import FrameInputs, RenderedFrame
from visualdub.timing import FrameRange

pytest.importorskip("starlette", reason="starlette is not installed; the page needs it")
pytest.importorskip("uvicorn", reason="uvicorn is not installed; the page needs it")

from daemon.page.facts import measured, unsteadiness
from daemon.page.flags import QUALITY, flags_of
from daemon.page.guard import TOKEN_FILE, page_token
from daemon.page.pictures import SOUND_RATE, Recording
from daemon.page.server import PageProcess
from daemon.page.shots import REVIEW_SUFFIX, _edited

STATIC = Path(__file__).resolve().parents[2] / "daemon" / "page" / "static"


# ---- who is refused ----------------------------------------------------------------------------------------


def test_the_page_is_given_to_who_has_its_token(page: Browser) -> None:
    status, content, headers = page.ask("")
    assert status == 200 and b"<title>Visual Dub</title>" in content
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["referrer-policy"] == "no-referrer" and headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize(
    ("path", "body", "headers", "why"),
    [
        ("/", None, {}, "token"),
        ("/api/events", None, {}, "token"),
        ("/metrics", None, {}, "token"),
        ("/metrics", None, {"Authorization": "Bearer of another user's token"}, "token"),
        ("", None, {"Host": "evil.example"}, "another host"),
        ("", None, {"Host": "evil.example:{port}"}, "another host"),
        ("", None, {"Origin": "https://evil.example"}, "another origin"),
        ("", None, {"Origin": "null"}, "another origin"),
        ("", None, {"Sec_Fetch_Site": "cross-site"}, "another site"),
        ("", None, {"Sec_Fetch_Site": "same-site"}, "another site"),
        ("api/jobs/1/cancel", {}, {"Origin": "http://127.0.0.1:1"}, "another origin"),
        ("api/jobs/1/cancel", {}, {"Origin": "https://127.0.0.1:{port}"}, "another origin"),
        ("api/jobs/1/cancel", {}, {"Origin": None}, "where it comes from"),
    ],
)
def test_others_are_refused(
    page: Browser,
    path: str,
    body: dict[str, Any] | None,
    headers: dict[str, str | None],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = str(page.parts.port)
    given = {k: v and v.replace("{port}", port) for k, v in headers.items()}
    with caplog.at_level(logging.WARNING, "daemon.page.guard"):
        status, content, answered = page.ask(path, body, **given)
    assert status == 403 and why in json.loads(content)["error"]
    assert "content-security-policy" in answered
    assert any("refused" in r.message and why in r.message for r in caplog.records)


def test_the_token_of_another_user_is_refused(page: Browser, tmp_path: Path) -> None:
    other = page_token(tmp_path / "keys of another user")
    assert page.ask(f"/{other}/")[0] == 403
    own = page.parts.path.strip("/")
    assert page.ask(f"/{own}/")[0] == 200 and page.ask(f"/{own[:-1]}/")[0] == 403


def test_only_the_user_can_read_the_token_and_it_stays(tmp_path: Path) -> None:
    token = page_token(tmp_path)
    assert page_token(tmp_path) == token and len(token) >= 32
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600
    (tmp_path / TOKEN_FILE).write_text("1234")
    with pytest.raises(BadInput, match="holds no token"):
        page_token(tmp_path)


@pytest.mark.parametrize("name", ["app.py", "..%2Fapp.py", "../app.py", "%2e%2e/guard.py", "/etc/passwd"])
def test_no_file_but_the_page_s_own_is_given(page: Browser, name: str) -> None:
    status, content, _ = page.ask(f"static/{name}")
    assert status == 404 and b"import" not in content


def test_nothing_refers_to_another_server() -> None:
    names = {p.name for p in STATIC.iterdir()}
    assert "index.html" in names
    for name in names:
        text = (STATIC / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text, re.I), name
        assert "innerHTML" not in text and "eval(" not in text, name


def test_requests_that_are_no_json_are_refused(page: Browser) -> None:
    for body in ({"priority": 11}, {"priority": "1"}, {"priority": True}, {}):
        status, content, _ = page.ask("api/jobs/1/priority", body)
        assert status == 400 and b"expected a whole number" in content
    status, content, _ = page.ask("api/jobs/1/priority", {"priority": 1, "x": "y" * (5 << 20)})
    assert status == 400 and b"more than" in content


# ---- jobs --------------------------------------------------------------------------------------------------


def test_jobs_are_shown_and_changed(page: Browser, service: Service, tmp_path: Path) -> None:
    job = queued(service, tmp_path)
    status, line, _ = page.ask("api/events")
    assert status == 200 and line.startswith(b"data: ")
    seen = json.loads(line.removeprefix(b"data: "))
    assert [(r["job"], r["state"]) for r in seen["jobs"]] == [(job, "queued")]
    assert seen["status"]["memory"] > 1 << 20
    assert page.json(f"api/jobs/{job}/priority", {"priority": 4})["job"]["priority"] == 4
    assert page.json(f"api/jobs/{job}/cancel", {})["job"]["state"] == "cancelled"
    assert page.json(f"api/jobs/{job}/retry", {})["job"]["state"] == "queued"
    status, content, _ = page.ask(f"api/jobs/{job}/explode", {})
    assert status == 404 and b"no change of a job" in content
    status, content, _ = page.ask("api/jobs/99/cancel", {})
    assert status == 404 and b"there is no job 99" in content


def test_a_shot_that_waits_is_left_alone(page: Browser, service: Service, tmp_path: Path) -> None:
    job = queued(service, tmp_path)
    status, content, _ = page.ask(f"api/jobs/{job}/shot")
    assert status == 202  # what a browser complains of is an error; this is asked for again
    assert json.loads(content) == {"waiting": f"job {job} is queued; its shot is shown once it is tracked"}
    assert page.ask("api/jobs/99/shot")[0] == 404


def test_a_decision_lies_beside_the_movie(page: Browser, service: Service, tmp_path: Path) -> None:
    job = queued(service, tmp_path)
    status, content, _ = page.ask(f"api/jobs/{job}/review", {"decision": "approved"})
    assert status == 202 and b"is queued" in content
    folder = service.config.job_folder(job)
    folder.mkdir(parents=True)
    (folder / "shot.json").write_text("{}")
    (folder / "performance.json").write_text("{}")
    done = page.json(f"api/jobs/{job}/review", {"decision": "rejected", "note": "lips are late — check"})
    assert done["review"]["decision"] == "rejected"
    kept = json.loads((tmp_path / f"out.mkv{REVIEW_SUFFIX}").read_text(encoding="utf-8"))
    assert (kept["job"], kept["decision"], kept["note"]) == (job, "rejected", "lips are late — check")
    assert page.ask(f"api/jobs/{job}/review", {"decision": "maybe"})[0] == 400
    assert page.ask(f"api/jobs/{job}/review", {"decision": "open", "note": "x" * 4001})[0] == 400
    _, line, _ = page.ask("api/events")
    assert json.loads(line[6:])["jobs"][0]["review"] == {"decision": "rejected", "outdated": False}


def test_metrics_are_prometheus_text(page: Browser, service: Service, tmp_path: Path) -> None:
    queued(service, tmp_path)
    token = page.parts.path.strip("/")
    status, content, headers = page.ask("/metrics", Authorization=f"Bearer {token}")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = content.decode().splitlines()
    sample = re.compile(r'^visualdub_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.e+-]+$')
    assert all(line.startswith("# ") or sample.match(line) for line in lines)
    assert 'visualdub_jobs{state="queued"} 1' in lines
    assert content == page.ask("metrics")[1]  # the same under the token


def test_the_process_is_started_again_and_ends_with_the_service(service: Service) -> None:
    with PageProcess(service.config, service.front.endpoints[0], 0) as shown:
        browser = Browser(shown.address)
        assert browser.ask("")[0] == 200
        first = shown._process
        first.kill()
        first.wait()
        for _ in range(200):
            if shown._process is not first:
                break
            shown._watch.join(0.1)
        assert browser.ask("")[0] == 200  # at the same address
        last = shown._process
    assert last.poll() == 0
    with pytest.raises(OSError):
        browser.ask("")


def test_a_port_that_is_taken(service: Service, page: Browser) -> None:
    with pytest.raises(BadInput, match=r"cannot listen at .*--page-port"):
        PageProcess(service.config, service.front.endpoints[0], page.parts.port)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_vdub_serve_prints_the_address_and_logs_json(tmp_path: Path) -> None:
    with short_folder() as short:
        places = {"VISUALDUB_DAEMON": short / "run", "VISUALDUB_STATE": short / "state"}
        environment = {
            **os.environ,
            **{k: str(v) for k, v in places.items()},
            "PYTHONPATH": ":".join(sys.path),
        }
        command = [sys.executable, "-c", VDUB, "serve", "--root", str(tmp_path), "--page"]
        with subprocess.Popen(
            command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as serving:
            try:
                assert serving.stderr is not None
                lines = iter(serving.stderr.readline, "")
                address = next(line.split()[-1] for line in lines if line.startswith("page at "))
                assert Browser(address).ask("")[0] == 200
            finally:
                serving.send_signal(signal.SIGTERM)
            assert serving.wait(60) == 0
        with pytest.raises(OSError):
            Browser(address).ask("")
        for name in ("service.log", "page.log"):
            entries = [json.loads(line) for line in (short / "run" / name).read_text().splitlines()]
            assert {"time", "level", "logger", "pid", "message"} <= set(entries[0]), name
            assert urlsplit(address).path.strip("/") not in json.dumps(entries)  # the token is in no log


# ---- flags -------------------------------------------------------------------------------------------------


def shot(n: int = 20) -> dict[str, Any]:
    """Facts of a shot with nothing to say."""
    return {"passed": [None] * n, "occluded": [None] * n, "confidence": [1.0] * n, "enlarged": [1.0] * n}


def said(facts: dict[str, Any], quality: dict[str, Any] | None = None) -> list[tuple[str, int, int, int]]:
    return [(f.kind, f.start, f.end, f.worst) for f in flags_of(100, facts, quality)]


def test_flags_name_their_frames_and_the_worst() -> None:
    facts = shot()
    facts["confidence"][4:8] = [0.4, 0.3, 0.1, 0.45]
    facts["passed"][10:12] = ["another person"] * 2
    facts["passed"][15] = "no usable face"
    facts["enlarged"][18:] = [1.6, 2.0]
    assert said(facts) == [
        ("low confidence", 104, 108, 106),
        ("another person", 110, 112, 110),
        ("passed through", 115, 116, 115),
        ("soft", 118, 120, 119),
    ]


def test_what_was_asked_for_or_is_silent_is_no_flag() -> None:
    facts = shot()
    facts["passed"][:3] = ["skipped"] * 3
    facts["passed"][5:8] = ["neither the dialogue nor the actor speaks"] * 3
    facts["confidence"][:3] = [0.1] * 3  # of frames that are not drawn
    assert said(facts) == []


def test_runs_with_a_short_gap_are_one_flag_and_covered_frames_are_flagged_once() -> None:
    facts = shot()
    facts["occluded"][2:4] = facts["occluded"][6:8] = ["a hand before the mouth"] * 2
    facts["passed"][2:4] = ["a hand before the mouth"] * 2
    assert said(facts) == [("occluded", 102, 108, 102)]
    facts["occluded"][14] = "a hand before the mouth"
    assert said(facts) == [("occluded", 102, 108, 102), ("occluded", 114, 115, 114)]


def test_soft_and_flickering_frames_are_flagged_by_a_mean_of_neighbours() -> None:
    quality = {"sharpness": [0.9] * 20, "flicker": [1.0] * 20}
    assert said(shot(), quality) == []
    quality["sharpness"][9] = 0.1  # alone: (0.9 * 4 + 0.1) / 5 = 0.74
    assert said(shot(), quality) == []
    quality["sharpness"][7:12] = [0.1] * 5
    quality["flicker"][3] = 12.0  # alone, but (1 * 4 + 12) / 5 = 3.2
    kinds = said(shot(), quality)
    assert [k for k, *_ in kinds] == ["flicker", "soft"]
    assert kinds[1][3] == 109 and kinds[0][1:3] == (101, 106)


# ---- figures of drawn frames -------------------------------------------------------------------------------


def drawn_frames(talking: Path, amount: list[float]) -> list[RenderedFrame]:
    """Frames of noise over one picture, whose mouth has so much of the plate's contrast."""
    with open_source(talking) as source:
        spec = next(iter(source.frames(FrameRange(0, 1))))
    random = np.random.default_rng(0)
    luma = random.integers(60, 190, spec.planes[0].shape).astype(np.uint8)
    matte = np.zeros(luma.shape, np.uint8)
    matte[40:80, 60:110] = 255
    made = []
    for i, share in enumerate(amount):
        plate = np.clip(luma + random.normal(0, 8, luma.shape), 0, 255).astype(np.uint8)
        dub = np.where(matte > 0, 125 + share * (plate.astype(np.float64) - 125), plate).astype(np.uint8)
        filmed = Frame(50 + i, (plate, *spec.planes[1:]), spec.image)
        inputs = FrameInputs(i, filmed, None, None, None, 1.0)
        made.append(RenderedFrame(replace(filmed, planes=(dub, *spec.planes[1:])), matte, None, inputs))
    return made


def test_sharpness_and_flicker_against_the_plate(talking: Path, tmp_path: Path) -> None:
    frames = drawn_frames(talking, [1.0, 1.0, 1.0, 0.5, 1.0, 1.0])
    passed = list(measured(tmp_path, FrameRange(50, 56), iter(frames)))
    assert passed == frames
    figures = json.loads((tmp_path / QUALITY).read_text())
    np.testing.assert_allclose(figures["sharpness"], [1, 1, 1, 0.25, 1, 1], rtol=0.05)
    assert figures["flicker"][0] is None and figures["flicker"][-1] is None  # no neighbours on both sides
    np.testing.assert_allclose(figures["flicker"][1], 1.0, rtol=0.01)
    assert figures["flicker"][3] > 2.5, "the contrast falls for one frame"


def test_a_mouth_in_motion_is_steady_and_a_flicker_is_not() -> None:
    columns = np.arange(200, dtype=np.float32)

    def edge(at: float) -> np.ndarray[Any, np.dtype[np.float32]]:
        """A lip: dark on its left, light on its right."""
        return np.tile(np.clip(120 + 20 * (columns - at), 60, 180), (50, 1)).astype(np.float32)

    random = np.random.default_rng(1)
    assert unsteadiness(edge(90), edge(92), edge(94)) < 0.05
    assert unsteadiness(edge(90), edge(91), edge(94)) < 0.5, "it speeds up"
    assert unsteadiness(edge(90), edge(96), edge(90)) > 5, "it jumps there and back"
    noise = [edge(90) + random.normal(0, 3, (50, 200)).astype(np.float32) for _ in range(3)]
    assert 0.6 < unsteadiness(*noise) < 1.4
    still = [edge(90)] * 3
    assert unsteadiness(*still) == 0
    wide = [frame * 257 for frame in noise]  # 16 bit
    np.testing.assert_allclose(unsteadiness(*wide), unsteadiness(*noise), rtol=1e-4)


def test_a_range_that_is_not_drawn_to_its_end_leaves_no_figures(talking: Path, tmp_path: Path) -> None:
    frames = measured(tmp_path, FrameRange(50, 56), iter(drawn_frames(talking, [1.0] * 6)))
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert not (tmp_path / QUALITY).exists()


# ---- sound, edits, logs ------------------------------------------------------------------------------------


def test_sound_is_silent_outside_a_recording() -> None:
    recording = Recording(np.arange(1, SOUND_RATE + 1, dtype=np.int32).astype(np.int16))
    piece = recording.piece(-2 / SOUND_RATE, 5 / SOUND_RATE)
    assert piece.tolist() == [0, 0, 1, 2, 3]
    end = recording.piece(1 - 1 / SOUND_RATE, 3 / SOUND_RATE)
    assert end.tolist() == [int(recording.samples[-1]), 0, 0]


PERFORMANCE = {
    "format": "visualdub performance",
    "words": [{"word": "été"}],
    "curves": [{"frame": 7 + i, "phone": "SIL", "draw": 1.0, "jaw": i / 10} for i in range(3)],
}


def test_an_edit_changes_its_values_alone() -> None:
    content = json.dumps(PERFORMANCE).encode()
    found = json.loads(_edited(content, [{"name": "jaw", "first": 8, "values": [0.25, 0.5]}]))
    assert [row["jaw"] for row in found["curves"]] == [0.0, 0.25, 0.5]
    for row in found["curves"]:
        del row["jaw"]
    rest = json.loads(content)
    for row in rest["curves"]:
        del row["jaw"]
    assert found == rest


@pytest.mark.parametrize(
    "edit",
    [
        {"name": "jaw", "first": 9, "values": [0.1, 0.2]},
        {"name": "frame", "first": 8, "values": [1]},
        {"name": "phone", "first": 8, "values": [1]},
        {"name": "no curve", "first": 8, "values": [1]},
        {"name": "jaw", "first": 8, "values": ["1"]},
        {"name": "jaw", "first": 8, "values": [True]},
        {"name": "jaw", "first": "8", "values": [0.1]},
        ["jaw"],
    ],
)
def test_an_edit_of_what_is_not_there_is_refused(edit: Any) -> None:
    with pytest.raises(BadInput):
        _edited(json.dumps(PERFORMANCE).encode(), [edit])


def test_logs_are_json_lines_with_the_job() -> None:
    def line(text: str, *args: object) -> dict[str, Any]:
        record = logging.LogRecord("daemon.service", logging.WARNING, __file__, 1, text, args, None)
        found: dict[str, Any] = json.loads(JsonLines().format(record))
        return found

    about = line("job %d failed: %s", 12, 'a "quote"\nand a line')
    assert about["job"] == 12 and about["level"] == "warning" and about["message"].endswith("and a line")
    assert "job" not in line("serving")
    assert "\n" not in JsonLines().format(logging.LogRecord("x", 20, "", 1, "a\nb", (), None))
