"""The page in headless Chromium: a visitor scrubs, plays, wipes, drags curves and decides."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser_helpers import Visitor, visitor
from daemon_helpers import client_of, running, short_folder

from daemon.config import Config
from visualdub.demo.run import FRENCH
from visualdub.wire import Client

pytest.importorskip("starlette", reason="starlette is not installed; the page needs it")

from daemon.page.flags import QUALITY
from daemon.page.server import Running

pytestmark = pytest.mark.slow
MOVIE = "new.mkv"


class Open:
    """A finished dub of 40 frames on the page, in a browser."""

    def __init__(self, visitor: Visitor, client: Client, job: int, folder: Path, state: Path) -> None:
        self.visitor, self.client, self.job, self.folder = visitor, client, job, folder
        self.state = state  # the service's own files


@pytest.fixture(scope="module")
def shown(talking: Path, flat_actor: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    folder = tmp_path_factory.mktemp("page")
    shutil.copyfile(FRENCH, folder / "new.wav")
    with ExitStack() as stack:
        guest = stack.enter_context(visitor())
        short = stack.enter_context(short_folder())
        roots = (folder, talking.parent, flat_actor.parent)
        config = Config(roots, short / "run", short / "state")
        service = stack.enter_context(running(config))
        client = stack.enter_context(client_of(service))
        setting = {
            "state": str(config.state),
            "keys": str(config.keys),
            "roots": [str(r) for r in roots],
            "endpoint": service.front.endpoints[0],
            "port": 0,
        }
        page = Running(setting)
        stack.callback(page.close)
        asked = {
            "clip": talking,
            "actor": flat_actor,
            "dialogue": folder / "new.wav",
            "output": folder / MOVIE,
        }
        job = client.submit(**{k: str(v) for k, v in asked.items()})
        assert client.wait(job)["state"] == "done"
        guest.open(page.address)
        yield Open(guest, client, job, folder, config.state)
        assert guest.complaints() == []
        hosts = {urlsplit(r).netloc for r in guest.requests if not r.startswith("blob:")}
        assert hosts == {urlsplit(page.address).netloc}  # no third party is asked for anything


def soften(state: Path, start: int, end: int) -> None:
    """Have the only job's picture measured as soft in some frames."""
    (path,) = state.rglob(QUALITY)
    quality = json.loads(path.read_text(encoding="utf-8"))
    quality["sharpness"][start:end] = [0.1] * (end - start)
    path.write_text(json.dumps(quality), encoding="utf-8")


@pytest.fixture
def guest(shown: Open) -> Visitor:
    """The visitor, at frame 0, with the wipe in the middle of the picture."""
    visitor = shown.visitor
    visitor.press("2", "w", "Home")
    x, y, width, height = visitor.box("#picture")
    visitor.tab.mouse.click(x + width / 2, y + height / 2)
    visitor.wait_for_picture(0)
    return visitor


def ruler(guest: Visitor, frame: float) -> tuple[float, float]:
    """A place in the timeline above the curve."""
    x, _ = guest.curve_point(0)
    last, _ = guest.curve_point(39)
    return x + (last - x) * frame / 39, guest.box("#curves")[1] + 8


def test_arrows_step_frames(guest: Visitor) -> None:
    first = guest.seen()
    guest.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert guest.frame == 3
    guest.wait_for_picture(3)
    assert np.abs(guest.seen() - first).max() > 20  # the picture moved, too
    guest.press("Shift+ArrowRight")
    assert guest.frame == 13
    guest.press("ArrowLeft")
    assert guest.frame == 12
    guest.press("End", "ArrowRight")
    assert guest.frame == 39
    guest.press("Home")
    guest.wait_for_picture(0)
    assert np.array_equal(guest.seen(), first)


def test_dragging_along_the_timeline_scrubs(guest: Visitor) -> None:
    mouse, frames = guest.tab.mouse, []
    mouse.move(*ruler(guest, 2))
    mouse.down()
    for frame in range(2, 31, 4):
        mouse.move(*ruler(guest, frame), steps=3)
        frames.append(guest.frame)
    mouse.up()
    assert frames == list(range(2, 31, 4))
    guest.wait_for_picture(30)
    assert any("/sound?of=dialogue" in r for r in guest.requests)


def test_space_plays_to_the_end_and_stops(guest: Visitor) -> None:
    for frame in range(0, 40, 8):  # let the frames be there
        guest.tab.locator("#frame").fill(str(frame))
        guest.press("Enter")
        guest.wait_for_picture(frame)
    guest.press("Home", " ")
    begun, seen = time.monotonic(), [0]
    while seen[-1] < 39 and time.monotonic() - begun < 60:
        seen.append(guest.frame)
    took = time.monotonic() - begun
    assert seen[-1] == 39 and seen == sorted(seen)
    assert took > 1.2, "1.6 s of sound"
    guest.wait_for_picture(39)
    guest.press("ArrowLeft")
    assert guest.frame == 38  # it stands still


def test_space_stops_where_it_is(guest: Visitor) -> None:
    guest.press("l", " ")  # in a loop: a busy machine looks too late for 1.6 s
    before = guest.frame
    for _ in range(100):
        if guest.frame != before:
            break
        guest.tab.wait_for_timeout(50)
    assert guest.frame != before
    guest.press(" ", "l")
    guest.tab.wait_for_selector('#play-shape[d^="M4"]', state="attached")  # the button offers to play again
    stopped = guest.frame
    guest.tab.wait_for_timeout(400)
    assert guest.frame == stopped


def test_the_wipe_shows_plate_on_its_left_and_dub_on_its_right(guest: Visitor) -> None:
    guest.press("ArrowRight", "1")
    guest.wait_for_picture(1)
    plate = guest.seen()
    guest.press("2")
    dub = guest.seen()
    x, y, _, height = guest.box("#picture")
    columns = np.flatnonzero((np.abs(plate - dub).max(2) > 30)[30:].any(0))  # below the labels
    assert len(columns) > 40, "the mouth is drawn"
    middle = (int(columns[0]) + int(columns[-1])) // 2
    guest.press("w")
    guest.drag((x + 30, y + height / 2), (x + middle, y + height / 2))
    wiped = guest.seen()
    rows = slice(40, int(height / 2 - 20))  # between the labels and the handle
    np.testing.assert_allclose(wiped[rows, : middle - 6], plate[rows, : middle - 6], atol=2)
    np.testing.assert_allclose(wiped[rows, middle + 6 :], dub[rows, middle + 6 :], atol=2)
    guest.press("w")
    np.testing.assert_array_equal(guest.seen(), dub)  # back to what was shown before


def test_a_dragged_curve_is_drawn_in_seconds_and_undone(shown: Open, guest: Visitor) -> None:
    guest.press("2")
    guest.tab.locator("#frame").fill("20")
    guest.press("Enter")
    guest.wait_for_picture(20)
    before, edited = [guest.curve_value(f) for f in range(40)], guest.seen()
    guest.press("Home")
    guest.wait_for_picture(0)
    far = guest.seen()
    guest.tab.locator("#frame").fill("20")
    guest.press("Enter")
    guest.wait_for_picture(20)
    version = guest.tab.locator("#picture").get_attribute("data-version")
    x, y = guest.curve_point(20)
    begun = time.monotonic()
    guest.drag((x, y), (x, y - 40))
    guest.tab.wait_for_selector(f'#picture:not([data-version="{version}"])')
    print(f"the edited frame is shown after {time.monotonic() - begun:.2f} s")
    after = [guest.curve_value(f) for f in range(40)]
    changed = [f for f in range(40) if after[f] != before[f]]
    assert changed == list(range(16, 25))  # a reach of four frames
    assert after[20] - before[20] == max(a - b for a, b in zip(after, before, strict=True)) > 0
    kept = {r["frame"]: r["jaw"] for r in json.loads(shown.client.performance(shown.job))["curves"]}
    assert [kept[f] for f in range(40)] == after
    assert np.abs(guest.seen() - edited).max() > 2  # flat skin, whose edge the open mouth moves
    guest.press("Home")
    guest.wait_for_picture(0)
    np.testing.assert_array_equal(guest.seen(), far)  # a frame that the edit does not reach
    answers: list[Any] = []  # to the page's questions about the finished shot, which come late
    guest.tab.route("**/shot", lambda route: answers.append((route, route.fetch())))
    guest.tab.locator("#render").click()
    time.sleep(1)
    row = shown.client.wait(shown.job)
    assert row["state"] == "done"
    assert len(changed) <= row["result"]["rendered"] < 40  # only what changed, and what looks at it
    guest.tab.wait_for_selector("#undo:not([disabled])")
    while not answers:
        guest.tab.wait_for_timeout(50)
    guest.press("Control+z")
    guest.tab.wait_for_selector("#redo:not([disabled])")
    assert [guest.curve_value(f) for f in range(40)] == before
    held = [answers.pop() for _ in range(len(answers))]
    for route, answer in held:
        route.fulfill(response=answer)
    guest.tab.wait_for_timeout(200)
    for route, answer in answers:  # asked again
        route.fulfill(response=answer)
    guest.tab.wait_for_timeout(500)
    assert [
        guest.curve_value(f) for f in range(40)
    ] == before  # an answer from before the undo changes nothing
    guest.tab.unroute("**/shot")
    guest.wait_for_picture(0)


def test_smoothing_and_gain(guest: Visitor) -> None:
    before = [guest.curve_value(f) for f in range(40)]
    start, end = guest.curve_point(8), guest.curve_point(30)
    guest.press("g")
    guest.tab.keyboard.down("Shift")
    guest.drag(start, end)
    guest.tab.keyboard.up("Shift")
    inside = guest.curve_point(18)
    guest.drag(inside, (inside[0], inside[1] - 60))
    louder = [guest.curve_value(f) for f in range(40)]
    assert louder[:8] == before[:8] and louder[31:] == before[31:]
    assert np.ptp(louder) > 1.3 * np.ptp(before[8:31])
    guest.press("s")
    inside = guest.curve_point(18)
    guest.drag(inside, (inside[0] + 5, inside[1]), steps=20)
    smooth = [guest.curve_value(f) for f in range(40)]
    assert np.abs(np.diff(smooth, 2)).sum() < 0.8 * np.abs(np.diff(louder, 2)).sum()
    guest.press("d")
    guest.tab.locator("#reset").click()
    guest.tab.wait_for_selector("#undo[disabled]")
    for _ in range(50):
        if [guest.curve_value(f) for f in range(40)] == before:
            break
        guest.tab.wait_for_timeout(100)
    assert [guest.curve_value(f) for f in range(40)] == before


def test_a_decision_and_a_note_are_kept(shown: Open, guest: Visitor) -> None:
    guest.tab.locator("#note").fill("teeth too bright; arrows type here")
    guest.tab.keyboard.press("ArrowLeft")
    assert guest.frame == 0
    guest.tab.locator("[data-decision=rejected]").click()
    guest.tab.wait_for_selector("[data-decision=rejected][aria-pressed=true]")
    kept = json.loads((shown.folder / f"{MOVIE}.review.json").read_text(encoding="utf-8"))
    assert kept["decision"] == "rejected" and kept["note"].startswith("teeth too bright")
    guest.tab.wait_for_selector(".job .mark.rejected")


def test_a_flag_jumps_to_its_frame(shown: Open, guest: Visitor) -> None:
    soften(shown.state, 9, 14)
    guest.tab.reload()
    guest.tab.wait_for_selector(".flag")
    flags = guest.tab.locator(".flag")
    assert [flags.nth(i).inner_text().split()[0] for i in range(flags.count())] == ["soft"]
    flags.first.click()
    assert 9 <= guest.frame < 14
    assert guest.frame == int(flags.first.get_attribute("data-frame"))
    guest.press("End", "[")
    assert guest.frame in {int(flags.nth(i).get_attribute("data-frame")) for i in range(flags.count())}


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1100, 700)])
def test_everything_fits(guest: Visitor, width: int, height: int) -> None:
    guest.tab.set_viewport_size({"width": width, "height": height})
    for selector in (
        "#render",
        "#loop",
        "#pixels",
        "#help-button",
        "#save-note",
        "#facts",
        "#curves",
        "#picture",
    ):
        x, y, w, h = guest.box(selector)
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height, selector
    hidden = guest.tab.locator(".bar").evaluate_all(
        "bars => bars.filter(b => b.scrollWidth > b.clientWidth + 1).length"
    )
    assert hidden == 0
    assert guest.box("#picture")[3] > 180 and guest.box("#curves")[3] > 130
    guest.tab.set_viewport_size({"width": 1440, "height": 900})
