"""A headless Chromium that tests move as a person does: with pointer and keys."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

WAIT_MS = 90_000
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]


class Visitor:
    """Somebody at the page. requests: addresses that were asked for. faults: complaints of the browser."""

    def __init__(self, tab: Any) -> None:
        self.tab = tab
        self.requests: list[str] = []
        self.faults: list[str] = []
        self._refused: list[Any] = []
        tab.set_default_timeout(WAIT_MS)
        tab.on("request", lambda r: self.requests.append(r.url))
        tab.on("pageerror", lambda e: self.faults.append(str(e)))
        tab.on("response", self._judge)
        tab.on("console", lambda m: self.faults.append(m.text) if m.type == "error" else None)

    def _judge(self, response: Any) -> None:
        if response.status >= 400:
            self._refused.append(response)

    def complaints(self) -> list[str]:
        """`faults`, and what each refused answer says: its body cannot be read while it is told of."""
        said = []
        for response in self._refused:
            try:
                body = response.text()
            except Exception as e:  # the browser lets go of bodies when it has many
                body = f"its body is gone: {e}"
            said.append(f"{response.status} {response.request.method} {response.url}: {body[:2000]}")
        return [*self.faults, *said]

    def open(self, address: str) -> None:
        """Open the page and wait for the first picture."""
        self.tab.goto(address)
        self.tab.wait_for_selector("#picture[data-shown]")

    @property
    def frame(self) -> int:
        """The frame that is chosen."""
        return int(self.tab.locator("#frame").input_value())

    def wait_for_picture(self, frame: int | None = None) -> None:
        """Until the picture of the chosen frame is on the screen."""
        self.tab.wait_for_selector(f'#picture[data-shown="{self.frame if frame is None else frame}"]')
        self.tab.wait_for_selector("#busy", state="hidden")

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            self.tab.keyboard.press(key)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, pixels of the window."""
        found = self.tab.locator(selector).bounding_box()
        return found["x"], found["y"], found["width"], found["height"]

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 12) -> None:
        """Press at `start`, move to `end` in steps, let go. Pixels of the window."""
        mouse = self.tab.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(*end, steps=steps)
        mouse.up()

    def curve_point(self, frame: int) -> tuple[float, float]:
        """Where the curve's value of a frame lies in the window."""
        x, y, _, _ = self.box("#curves")
        place = self.tab.locator("#curves").evaluate("(canvas, frame) => canvas.placeOf(frame)", frame)
        return x + place["x"], y + place["y"]

    def curve_value(self, frame: int) -> float:
        """The value of the curve in a frame."""
        return float(self.tab.locator("#curves").evaluate("(canvas, frame) => canvas.valueOf(frame)", frame))

    def seen(self, selector: str = "#picture") -> NDArray[np.float32]:
        """The pixels of an element as they are on the screen, (H, W, 3)."""
        data = self.tab.locator(selector).screenshot()
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32)


def chromium_path() -> str:
    """The browser; skips the test where it is missing."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed (apt-get install chromium); it shows the page")
    return found


@contextmanager
def visitor(width: int = 1440, height: int = 900) -> Iterator[Visitor]:
    """A browser with one empty tab. Skips the test where browser or client are missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api",
        reason="playwright is not installed (pip install playwright); it moves the browser",
    )
    path = chromium_path()
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield Visitor(browser.new_page(viewport={"width": width, "height": height}))
        browser.close()
