"""What the page shows of a job's shot and does with it: facts, flags, performance, decision."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.access import Roots
from daemon.disk import kept_performances
from daemon.page.answers import Missing, NotYet
from daemon.page.flags import QUALITY, SHOT, flags_of
from daemon.page.pictures import SOUND_S, Plates, Recordings, peaks, side_by_side, wav
from visualdub.errors import BadInput
from visualdub.speech.performance_file import ROWS, read_performance_file
from visualdub.storage import write_text
from visualdub.timing import FrameRange
from visualdub.wire.client import Client
from visualdub.wire.errors import BadRequest
from visualdub.wire.requests import TIMEOUT_S

PERFORMANCE = "performance.json"  # in a job's folder: what a worker has made of the request
ORIGINAL = "original.json"  # in a job's folder: the performance before the first edit
TRIED = "tried.json"  # an edited performance while it is checked
REVIEW_SUFFIX = ".review.json"  # beside the movie
REVIEW, REVIEW_VERSION = "visualdub review", 1
DECISIONS = ("approved", "rejected", "open")
MOST_NOTE = 4000  # characters
MOST_EDITS = 200
CONNECTIONS = 16


class Clients:
    """Connections to the service, one for each thread that needs one. timeout_s: as `Client` has it."""

    def __init__(self, endpoint: str, timeout_s: float = TIMEOUT_S) -> None:
        self._endpoint, self._timeout_s = endpoint, timeout_s
        self._idle: queue.LifoQueue[Client] = queue.LifoQueue(CONNECTIONS)

    @contextmanager
    def one(self) -> Iterator[Client]:
        """A connection; one that failed is not used again."""
        try:
            client = self._idle.get_nowait()
        except queue.Empty:
            client = Client(self._endpoint, client="page", timeout_s=self._timeout_s)
        try:
            yield client
        except BaseException:
            client.close()
            raise
        try:
            self._idle.put_nowait(client)
        except queue.Full:
            client.close()

    def close(self) -> None:
        """Close those that nobody uses."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


class Shots:
    """The shots of the service's jobs. state: the service's folder."""

    def __init__(self, clients: Clients, state: Path, roots: Roots) -> None:
        self.clients, self._state, self._roots = clients, state, roots
        self._plates, self._recordings = Plates(), Recordings()
        self._editing = threading.Lock()

    # ---- what is known -------------------------------------------------------------------------------------

    def shot(self, job: int) -> dict[str, Any]:
        """Everything that the page needs of a shot. Raises `Missing` for a job that draws nothing, `NotYet`
        for one whose shot is not tracked.
        """
        row = self.row(job)
        facts, quality = self._facts(job, row), _read(self._folder(job) / QUALITY)
        frames = FrameRange.parse(facts["frames"])
        content = self._performance(job)
        original = _read(self._folder(job) / ORIGINAL)
        return {
            "job": row,
            **{k: v for k, v in facts.items() if k not in ("clip", "dialogue", "passed", "occluded")},
            "clip": Path(facts["clip"]).name,
            "first": frames.start,
            "count": len(frames),
            "flags": [f.as_dict() for f in flags_of(frames.start, facts, quality)],
            "drawn": [reason is None for reason in facts["passed"]],
            "quality": quality,
            "performance": json.loads(content),
            "original": original and original.get(ROWS),
            "version": self._version(job, content),
            "stale": self._edited_ns(job) / 1e9 > row["ended"] or row["state"] != "done",
            "review": self.review(row),
        }

    def row(self, job: int) -> dict[str, Any]:
        """The service's row of a job. Raises `Missing` where there is no such job."""
        with self.clients.one() as client:
            try:
                return client.job(job)
            except BadRequest as e:
                raise Missing(str(e)) from None

    def _facts(self, job: int, row: dict[str, Any] | None = None) -> dict[str, Any]:
        path = self._folder(job) / SHOT
        if not path.is_file():
            row = self.row(job) if row is None else row
            if row["kind"] not in ("dub", "speech"):
                raise Missing(f"job {job} ({row['kind']}) has no shot to show")
            if row["state"] in ("queued", "running", "paused"):  # asked now, a worker would begin it twice
                raise NotYet(f"job {job} is {row['state']}; its shot is shown once it is tracked")
            with self.clients.one() as client:
                client.performance(job)  # a worker prepares the shot
        facts = _read(path)
        if facts is None:
            raise NotYet(f"job {job} is not prepared yet; there is nothing to show")
        return facts

    def _folder(self, job: int) -> Path:
        return self._state / "jobs" / str(int(job))

    def version(self, job: int) -> str:
        """Changes whenever frames of the job may look otherwise."""
        return self._version(job, self._performance(job))

    def _version(self, job: int, performance: bytes) -> str:
        found = hashlib.blake2b(performance, digest_size=8)
        with contextlib.suppress(OSError):
            found.update(str((self._folder(job) / QUALITY).stat().st_mtime_ns).encode())
        return found.hexdigest()

    # ---- pictures and sound --------------------------------------------------------------------------------

    def picture(self, job: int, number: int, view: str) -> tuple[bytes, str]:
        """Plate and dub of a frame beside each other, encoded, and the media type. view: mouth or whole."""
        facts = self._facts(job)
        frames = FrameRange.parse(facts["frames"])
        if number not in range(frames.start, frames.end_exclusive):
            raise Missing(f"frame {number} is outside the shot; expected one of {frames}")
        pixels = facts["width"] * facts["height"]
        plate = self._plates.frame(Path(facts["clip"]), number, frames.end_exclusive, pixels)
        with self.clients.one() as client:
            patch = client.frame(job, number, box=True)
        box = tuple(facts["boxes"][number - frames.start]) if view == "mouth" else None
        return side_by_side(plate, patch, box)

    def sound(self, job: int, start_s: float, length_s: float, of_plate: bool) -> bytes:
        """WAV of the shot's dialogue, or of the clip. start_s: after the shot's first frame."""
        recording, offset = self._recording(job, of_plate)
        return wav(recording.piece(start_s + offset, min(length_s, SOUND_S)))

    def peaks(self, job: int) -> list[float]:
        """How loud the dialogue is in each frame."""
        facts = self._facts(job)
        recording, offset = self._recording(job, False)
        return peaks(recording, offset, facts["times"], _rate(facts))

    def _recording(self, job: int, of_plate: bool) -> tuple[Any, float]:
        """A recording, and where in it the shot's first frame is, seconds."""
        facts = self._facts(job)
        if of_plate or not facts["dialogue"]:
            return self._recordings.of(Path(facts["clip"])), facts["start_s"]
        return self._recordings.of(Path(facts["dialogue"])), -facts["place_s"]

    # ---- the performance -----------------------------------------------------------------------------------

    def _performance(self, job: int) -> bytes:
        """The performance file that the next frame is drawn with."""
        folder = self._folder(job)
        while edited := kept_performances(folder):
            with contextlib.suppress(FileNotFoundError):  # a newer one took its place: look again
                return edited[-1][1].read_bytes()
        try:
            return (folder / PERFORMANCE).read_bytes()
        except OSError:
            with self.clients.one() as client:
                return client.performance(job)

    def _edited_ns(self, job: int) -> int:
        edited = kept_performances(self._folder(job))
        return edited[-1][0] if edited else 0

    def edit(self, job: int, edits: list[dict[str, Any]], run: bool, reset: bool = False) -> dict[str, Any]:
        """Change curves of a job's performance. edits: `name` of a curve, `first` frame, `values` from there
        on. run: make the movie again. reset: back to what it was before the first edit, instead of `edits`.

        Raises `BadInput` for values that no performance has, and while the job is in work.
        """
        with self._editing:  # each starts from what the one before has left
            content = self._checked(job, edits, reset)
            with self.clients.one() as client:
                client.put_performance(job, content, run)
        return {"version": self.version(job)}

    def _checked(self, job: int, edits: list[dict[str, Any]], reset: bool) -> bytes:
        """The edited performance file."""
        folder, current = self._folder(job), self._performance(job)
        original = folder / ORIGINAL
        if not original.is_file():
            write_text(original, current.decode())
        content = original.read_bytes() if reset else _edited(current, edits)
        tried = folder / TRIED
        tried.write_bytes(content)
        try:
            read_performance_file(tried)
        except BadInput as e:
            raise BadInput(str(e).replace(str(tried), "the edited performance")) from None
        finally:
            tried.unlink(missing_ok=True)
        return content

    # ---- the decision --------------------------------------------------------------------------------------

    def review(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """What was decided about a job's movie; None where nothing was. outdated: it was made again since."""
        try:
            found = _read(self._review_path(row))
        except BadInput:  # the folders of the service are others now
            return None
        if found is None or found.get("format") != REVIEW or found.get("job") != row["job"]:
            return None
        edited = self._edited_ns(row["job"]) / 1e9
        return {**found, "outdated": found.get("at", 0) < max(row["ended"], edited)}

    def decide(self, job: int, decision: str, note: str) -> dict[str, Any]:
        """Write a decision beside the job's movie: approved, rejected or open, and a note."""
        if decision not in DECISIONS:
            raise BadInput(f"{decision!r} is no decision; expected one of {', '.join(DECISIONS)}")
        if len(note) > MOST_NOTE:
            raise BadInput(f"the note has {len(note)} characters; expected at most {MOST_NOTE}")
        row = self.row(job)
        if row["kind"] != "dub":
            raise Missing(f"job {job} is a {row['kind']}; there is no movie to decide about")
        self._facts(job, row)
        now = time.time()
        values = {
            "format": REVIEW,
            "version": REVIEW_VERSION,
            "job": job,
            "movie": Path(row["title"]).name,
            "decision": decision,
            "note": note,
            "performance": self.version(job),
            "at": now,
            "date": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        }
        write_text(self._review_path(row), json.dumps(values, indent=1, ensure_ascii=False) + "\n")
        return {**values, "outdated": False}

    def _review_path(self, row: dict[str, Any]) -> Path:
        movie = self._roots.writable(row["title"])
        return movie.with_name(movie.name + REVIEW_SUFFIX)


def _rate(facts: dict[str, Any]) -> float:
    above, _, below = facts["rate"].partition("/")
    return int(above) / int(below or 1)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _edited(content: bytes, edits: list[dict[str, Any]]) -> bytes:
    """A performance file with other values; all else in it stays."""
    if not isinstance(edits, list) or not 1 <= len(edits) <= MOST_EDITS:
        raise BadInput(f"expected 1 to {MOST_EDITS} edits of curves")
    values = json.loads(content)
    rows = {row["frame"]: row for row in values[ROWS]}
    for edit in edits:
        name, first, numbers = (
            edit.get(k) if isinstance(edit, dict) else None for k in ("name", "first", "values")
        )
        if not isinstance(name, str) or not isinstance(first, int) or not isinstance(numbers, list):
            raise BadInput("an edit needs the name of a curve, its first frame and values")
        for frame, number in enumerate(numbers, first):
            row = rows.get(frame)
            if row is None or name not in row or name in ("frame", "phone"):
                raise BadInput(f"the performance has no {name!r} in frame {frame}")
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise BadInput(f"frame {frame}: {name} is no number")
            row[name] = float(number)
    head = {k: v for k, v in values.items() if k != ROWS}
    lines = [f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)},\n" for k, v in head.items()]
    body = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in values[ROWS])
    return ("{\n" + "".join(lines) + f' "{ROWS}": [\n' + body + "\n ]\n}\n").encode()
