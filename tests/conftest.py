"""What the tests of several packages share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from pathlib import Path

import pytest

# Workers of pytest share the cores; a library reads how many threads it may start when it is imported.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _WORKERS)))

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _shared_folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(
            f"shared/{name} is not beside the checkout; it holds real {name} that the project does not ship"
        )
    return folder


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips beside the checkout; skips where it is missing."""
    return _shared_folder("clips")


@pytest.fixture(scope="session")
def dialogue() -> Path:
    """The folder of recorded dialogue beside the checkout; skips where it is missing."""
    return _shared_folder("dialogue")


@pytest.fixture(scope="session")
def demo_clip(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's source: a portrait that counts to five in English, 125 frames at 25 frames/s, H.264 and AAC.

    It stands in for a recording of a speaker. It is kept in pytest's cache and made again when the demo's
    files or the speech models change.
    """
    import visualdub.demo
    from visualdub.demo.run import make_source

    demo = Path(visualdub.demo.__file__).parent
    parts = sorted(p for p in demo.rglob("*") if p.suffix in (".py", ".wav"))
    parts += sorted((demo.parent / "speech" / "data").glob("*.onnx"))  # they move the portrait's mouth
    made_from = hashlib.sha256(b"".join(p.read_bytes() for p in parts)).hexdigest()[:16]
    cache = getattr(pytestconfig, "cache", None)  # none where pytest's plugin is switched off
    folder = cache.mkdir("demo_clip") if cache else tmp_path_factory.mktemp("demo_clip")
    clip = folder / made_from / "counting.mp4"
    if not clip.is_file():
        clip.parent.mkdir(exist_ok=True)
        make_source(clip)  # whole under its name, or not there: another process may be making it too
    return clip


@pytest.fixture(scope="session")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A movie of a speaking portrait, 40 frames at 25 frames/s, with sound, lossless."""
    from helpers import portrait_pictures, write_movie, write_wav

    folder = tmp_path_factory.mktemp("talking")
    return write_movie(
        folder / "talking.mkv", portrait_pictures(40), audio=write_wav(folder / "talking.wav", 1.6)
    )


@pytest.fixture(scope="session")
def flat_actor(talking: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The actor of `talking`, with a renderer that paints flat skin."""
    from helpers import write_flat_actor

    from visualdub.face.tracker import track_clip

    return write_flat_actor(tmp_path_factory.mktemp("actor") / "flat.actor", track_clip(talking))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Names that are not UTF-8, in what a test printed, in characters that a worker process can send."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never read or fill the user's cache."""
    monkeypatch.setenv("VISUALDUB_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
