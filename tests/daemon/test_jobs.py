"""A whole service with a worker: dubs, frames and performances are what the core makes, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daemon_helpers import client_of, running, short_folder, workers_of
from helpers import planes_of, portrait_pictures, write_movie, write_wav
from numpy.typing import NDArray

from daemon.config import Config
from daemon.service import Service
from visualdub.media.source import open_source
from visualdub.wire import BadRequest, Client, JobFailed
from visualdub.wire.picture import FramePicture


class Studio:
    """A service with one worker, and material for it."""

    def __init__(self, service: Service, client: Client, folder: Path, clip: Path, actor: Path) -> None:
        self.service, self.client, self.folder = service, client, folder
        self.clip, self.actor, self.voice = clip, actor, folder / "new.wav"

    def dub(self, name: str, **more: Any) -> dict[str, Any]:
        """Options of a dub of the clip."""
        asked = {"clip": self.clip, "actor": self.actor, "dialogue": self.voice, "output": self.folder / name}
        return {**{k: str(v) for k, v in asked.items()}, **more}

    def done(self, job: int) -> dict[str, Any]:
        """The row of a job once it is done."""
        row = self.client.wait(job)
        assert row["state"] == "done", row["reason"]
        return row


@pytest.fixture(scope="module")
def studio(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    write_wav(folder / "new.wav", 1.6)
    with ExitStack() as stack:
        short = stack.enter_context(short_folder())
        roots = (folder, talking.parent, flat_actor.parent)
        service = stack.enter_context(running(Config(roots, short / "run", short / "state")))
        client = stack.enter_context(client_of(service))
        yield Studio(service, client, folder, talking, flat_actor)


@pytest.fixture(scope="module")
def first(studio: Studio) -> dict[str, Any]:
    """The row of a finished dub."""
    return studio.done(studio.client.submit(**studio.dub("first.mkv")))


def content(path: Path) -> list[NDArray[np.generic]]:
    return [plane for planes in planes_of(path) for plane in planes]


def same(a: list[NDArray[np.generic]], b: list[NDArray[np.generic]]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_dub_is_that_of_the_core(studio: Studio, first: dict[str, Any]) -> None:
    from visualdub.actor.package import load_actor
    from visualdub.dub import Output, dub_shot, track_shot
    from visualdub.edit.shot import plan_shot

    assert first["result"]["frames"] == first["result"]["rendered"] == 40
    direct = studio.folder / "direct.mkv"
    dub_shot(track_shot(plan_shot(studio.clip)), studio.voice, load_actor(studio.actor), Output(direct))
    assert same(content(studio.folder / "first.mkv"), content(direct))
    records = [
        json.loads(p.with_name(p.name + ".provenance.json").read_text())
        for p in (studio.folder / "first.mkv", direct)
    ]
    assert records[0]["watermark"] == records[1]["watermark"] and records[0]["job"] == records[1]["job"]


def test_a_second_dub_of_the_same_renders_nothing(studio: Studio, first: dict[str, Any]) -> None:
    row = studio.done(studio.client.submit(**studio.dub("second.mkv")))
    assert row["result"]["rendered"] == 0 and row["result"]["drawn"] == first["result"]["drawn"]
    assert same(content(studio.folder / "first.mkv"), content(studio.folder / "second.mkv"))
    bounds = [
        json.loads((studio.folder / f"{n}.mkv.provenance.json").read_text())["watermark"]["box"]
        for n in ("first", "second")
    ]
    assert bounds[0] == bounds[1] and bounds[0] is not None


def plane(picture: FramePicture) -> NDArray[np.generic]:
    shape, dtype, data = picture.planes[0]
    return np.frombuffer(data, dtype).reshape(shape)


def test_frames_of_every_kind(studio: Studio, first: dict[str, Any]) -> None:
    client, job = studio.client, first["job"]
    with open_source(studio.folder / "first.mkv") as source:
        dubbed = list(source.frames())[20]
    native = client.frame(job, 20, pixels="native")
    assert native.pixels == dubbed.image.pix_fmt and native.drawn
    for (shape, dtype, data), expected in zip(native.planes, dubbed.planes, strict=True):
        assert np.array_equal(np.frombuffer(data, dtype).reshape(shape), expected)
    whole, boxed = client.frame(job, 20), client.frame(job, 20, box=True)
    left, top, right, bottom = boxed.box
    assert plane(whole).shape == (whole.height, whole.width, 3)
    inner = plane(whole)[top + 4 : bottom - 4, left + 4 : right - 4].astype(int)
    assert np.abs(inner - plane(boxed)[4:-4, 4:-4].astype(int)).max() <= 1
    matte, plate = plane(client.frame(job, 20, "matte")), plane(client.frame(job, 20, "plate"))
    assert matte.any() and not matte[:top].any() and not matte[:, :left].any()
    far = np.zeros(matte.shape, bool)
    far[: top - 8] = True  # swscale's filter reaches over the edge of what changed
    assert np.array_equal(plate[far], plane(whole)[far])
    assert plane(client.frame(job, 20, "raw")).shape == (256, 256, 3)
    assert plane(client.frame(job, 20, "uv")).shape == (256, 256, 2)
    with pytest.raises(BadRequest, match=r"frame 40 is outside the shot; expected one of 0:40"):
        client.frame(job, 40)


def test_an_edit_of_a_few_frames_renders_these_alone(studio: Studio, first: dict[str, Any]) -> None:
    client = studio.client
    job = studio.client.submit(**studio.dub("edited.mkv"))
    studio.done(job)
    before = content(studio.folder / "edited.mkv")
    curves = json.loads(client.performance(job))
    for row in curves["curves"][20:23]:
        row["jaw"] += 0.1
    client.put_performance(job, json.dumps(curves).encode())
    row = studio.done(job)
    assert 3 <= row["result"]["rendered"] <= 15
    after = content(studio.folder / "edited.mkv")
    planes = len(before) // 40
    changed = [
        n
        for n in range(40)
        if not same(before[n * planes : (n + 1) * planes], after[n * planes : (n + 1) * planes])
    ]
    assert changed and set(changed) >= {20, 21, 22} and len(changed) <= row["result"]["rendered"]


def test_a_broken_performance_fails_the_job_with_a_line(studio: Studio, first: dict[str, Any]) -> None:
    job = studio.client.submit(**studio.dub("broken.mkv"))
    studio.done(job)
    studio.client.put_performance(job, b"[" * 100_000)
    row = studio.client.wait(job)
    assert row["state"] == "failed" and "JSON" in row["reason"]
    assert studio.client.status()["counts"]["restarts"] == 0


def test_a_draft_is_made_final_by_the_same_job(studio: Studio, first: dict[str, Any]) -> None:
    job = studio.client.submit("draft", **studio.dub("rough.mkv"))
    assert studio.done(job)["quality"] == "draft"
    rough = content(studio.folder / "rough.mkv")
    studio.client.final(job)
    assert studio.done(job)["quality"] == "final"
    final = content(studio.folder / "rough.mkv")
    assert not same(rough, final) and same(final, content(studio.folder / "first.mkv"))


def test_a_draft_needs_no_actor_but_consent(studio: Studio) -> None:
    asked = studio.dub("drafted.mkv")
    asked.pop("actor")
    for more, quality, said in (({}, "draft", "consent"), ({"consent": "a, b, c"}, "final", "vdub adapt")):
        with pytest.raises(BadRequest, match=said):
            studio.client.submit(quality, **asked, **more)
    job = studio.client.submit("draft", **asked, consent="Ada, today, tests")
    result = studio.done(job)["result"]
    assert result["frames"] == 40 and any("a draft, drawn out of" in note for note in result["notes"])
    record = json.loads((studio.folder / "drafted.mkv.provenance.json").read_text())
    assert record["consent"]["who"] == "Ada" and record["renderer"]["provider"] == "none"
    assert studio.client.frame(job, 12).drawn and studio.client.frame(job, 12, "raw").planes
    with pytest.raises(BadRequest, match="has no actor"):
        studio.client.final(job)


def test_a_track_and_a_performance_are_jobs(studio: Studio) -> None:
    from visualdub.face.track import Track

    row = studio.done(studio.client.track(str(studio.clip), str(studio.folder / "t.npz"), frames="0:20"))
    assert row["result"]["frames"] == 20 and len(Track.load(studio.folder / "t.npz")) == 20
    asked = studio.dub("none.mkv", performance=str(studio.folder / "mouth.json"))
    row = studio.done(studio.client.speech(**asked))
    assert Fraction(json.loads((studio.folder / "mouth.json").read_text())["rate"]) == 25
    assert not (studio.folder / "none.mkv").exists() and row["result"]["frames"] == 40


def test_a_clip_that_is_none_fails_with_a_line(studio: Studio) -> None:
    (studio.folder / "bad.mkv").write_bytes(b"no movie" * 100)
    row = studio.client.wait(studio.client.submit(**studio.dub("x.mkv", clip=str(studio.folder / "bad.mkv"))))
    assert row["state"] == "failed" and "bad.mkv" in row["reason"]
    assert not (studio.folder / "x.mkv").exists()


def test_a_job_is_cancelled_in_the_middle(studio: Studio) -> None:
    job = studio.client.submit(**studio.dub("stopped.mkv", mouth_gain=1.3))
    for row in studio.client.watch(job):
        if row["stage"] == "rendering" and row["state"] == "running":
            studio.client.cancel(job)
    assert row["state"] == "cancelled"
    assert not list(studio.folder.glob("*stopped*"))


def test_withdrawn_consent_stops_what_is_ready(studio: Studio) -> None:
    client = studio.client
    client.add_actor(str(studio.actor))
    assert [a["name"] for a in client.actors()] == ["flat"]
    job = client.submit(**studio.dub("library.mkv", actor="flat"))
    studio.done(job)
    assert client.frame(job, 3).drawn
    assert client.withdraw_actor("flat")["consent"]["withdrawn"]
    with pytest.raises(BadRequest, match="withdrew consent"):
        client.frame(job, 3)
    client.remove_actor("flat")
    assert client.actors() == []


def test_a_failed_job_raises_for_the_command_line(studio: Studio) -> None:
    from daemon.commands import follow

    job = studio.client.submit(**studio.dub("y.mkv", clip=str(studio.voice)))
    with pytest.raises(JobFailed, match=f"job {job} failed"):
        follow(studio.client, job)


def test_a_frame_is_rendered_ahead_of_its_turn(studio: Studio) -> None:
    """While a dub has hardly begun, its last frame is there, and is the one that the movie has at the end."""
    job = studio.client.submit(**studio.dub("ahead.mkv", mouth_gain=0.8))
    with client_of(studio.service) as other:
        for row in studio.client.watch(job):
            if row["stage"] == "rendering" and row["done"] > 0:
                break
        picture = other.frame(job, 39, pixels="native")
        assert other.job(job)["done"] < 40, "the dub was faster; nothing was ahead of its turn"
    studio.done(job)
    with open_source(studio.folder / "ahead.mkv") as source:
        last = list(source.frames())[39]
    for (shape, dtype, data), expected in zip(picture.planes, last.planes, strict=True):
        assert np.array_equal(np.frombuffer(data, dtype).reshape(shape), expected)


def test_a_frame_of_a_job_that_is_just_being_prepared(studio: Studio) -> None:
    """The question waits for the track that the same worker makes; it does not wait for itself."""
    job = studio.client.submit(**studio.dub("early.mkv", frames="2:38", mouth_gain=0.7))
    with client_of(studio.service) as other:
        assert other.frame(job, 20, timeout_s=120).drawn
    studio.done(job)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_workers_render_one_dub(studio: Studio, first: dict[str, Any], flat_actor: Path) -> None:
    """Who has nothing to do renders later chunks, and the movie is the same."""
    long = studio.folder / "long.mkv"
    write_movie(long, portrait_pictures(20) * 5, audio=write_wav(studio.folder / "long.wav", 4.0))
    with ExitStack() as stack:
        short = stack.enter_context(short_folder())
        roots = (studio.folder, flat_actor.parent)
        config = Config(roots, short / "run", short / "state", workers=2, stall_s=300)
        service = stack.enter_context(running(config))
        client = stack.enter_context(client_of(service))
        while len(workers_of(client)) < 2:
            time.sleep(0.05)
        asked = studio.dub("two.mkv", clip=str(long), dialogue=str(studio.folder / "long.wav"))
        job = client.submit(**asked)
        while client.job(job)["stage"] != "rendering":
            time.sleep(0.01)
        lease = service.schedule.leases[job]
        held = next(w.pid for w in service.crew.workers.values() if w.lease is lease)
        os.kill(held, signal.SIGSTOP)  # however busy this machine is, the other one has time for two chunks
        while len(service.schedule._whole.get(job, ())) < 2:
            time.sleep(0.05)
        os.kill(held, signal.SIGCONT)
        row = client.wait(job)
        assert row["state"] == "done", row["reason"]
        assert row["result"]["frames"] == 100 and 24 <= row["result"]["rendered"] <= 100 - 24
    one = studio.done(studio.client.submit(**{**asked, "output": str(studio.folder / "one.mkv")}))
    assert one["result"]["rendered"] == 100
    assert same(content(studio.folder / "one.mkv"), content(studio.folder / "two.mkv"))
