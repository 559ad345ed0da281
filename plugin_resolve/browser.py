"""In the place of a window, where the host's Python has no Tk: pages in the browser, and the last choices.

Nothing can be asked there. What is used instead, and how to change it, is said on the page.
"""

from __future__ import annotations

import html
import webbrowser
from collections.abc import Callable
from pathlib import Path

from plugin_resolve.session import CLOSE, DUB, RESTORE, SETTINGS, Question, read_todo
from plugin_resolve.values import Choices

PAGE = "message.html"
_TEXT = """<!doctype html><meta charset="utf-8"><title>Visual Dub</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 42em; margin: 4em auto; }}
pre {{ white-space: pre-wrap; }}</style>
<h1>Visual Dub</h1>{body}
<p>This Python has no Tk, so that no window can be opened. What is dubbed stands in <code>{settings}</code>:
<code>dialogue_track</code>, <code>actor</code>, <code>quality</code> (final or draft), <code>language</code>,
<code>folder</code>, and, for once, <code>ranges</code> and <code>consent</code>; with
<code>"do": "restore"</code> the originals come back. Change it and start Visual Dub again.</p>
"""


class BrowserWindow:
    """Tells what happens on pages of its own. show: opens an address; the system's browser by default."""

    wants_page = True

    def __init__(self, folder: Path, show: Callable[[str], object] = webbrowser.open) -> None:
        self._folder, self._show = folder, show
        self._said: list[str] = []
        self._asked = False

    def ask(self, question: Question) -> tuple[str, Choices]:
        """The last choices, once; then the artist is done."""
        if self._asked:
            return CLOSE, question.last
        self._asked = True
        self._said.append(question.sentence)
        if read_todo(self._folder) == RESTORE:
            return RESTORE, question.last
        return DUB, question.last

    def progress(self, said: str, done: int, total: int) -> bool:
        """Nothing: the service's page shows it, and stops it."""
        return True

    def show_page(self, address: str) -> None:
        """Open the service's page."""
        self._show(address)

    def say(self, text: str, problem: bool = False) -> None:
        """Show everything that was said, the newest last."""
        self._said.append(text)
        body = "".join(f"<pre>{html.escape(line)}</pre>" for line in self._said)
        path = self._folder / PAGE
        settings = html.escape(str(self._folder / SETTINGS))
        path.write_text(_TEXT.format(body=body, settings=settings), encoding="utf-8")
        self._show(path.as_uri())

    def close(self) -> None:
        """What was said stays in the browser; the next message begins a page of its own."""
        self._said.clear()
