"""What the tests of several packages share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from common_files import made_once

# Workers of pytest share the cores; a library reads how many threads it may start when it is imported.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if _WORKERS > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _WORKERS)))

TESTS = Path(__file__).resolve().parent
SHARED = TESTS.parents[1] / "shared"
LONGEST = (  # files by the time they take, from half a minute on
    "training/test_meta.py",
    "cases/test_places.py",
    "training/test_prior.py",
    "daemon/test_jobs.py",
    "training/test_adapt.py",
    "training/test_prepare.py",
    "daemon/test_chaos.py",
    "daemon/test_page_browser.py",
    "daemon/test_adapt_job.py",
    "cases/test_sound.py",
    "test_end_to_end.py",
    "test_bad_input.py",
    "training/test_experiments.py",
    "hosts/test_resolve_ends.py",
    "hosts/test_resolve_plugin.py",
    "hosts/test_nuke_ends.py",
    "demo/test_run.py",
    "test_file_formats.py",
    "training/test_trainer.py",
    "training/test_privacy.py",
    "speech/test_train_speech.py",
    "daemon/test_edit_jobs.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Files go to the workers in the order of `pytest_collection_modifyitems`; by itself the plug-in for
    several workers begins with those that hold many tests, and ends with those that hold few long ones.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no worker is left alone with one of them at the end."""
    order = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))


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


# ---- what is made once in a run, whatever the number of its workers ----------------------------------------


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run that all of its workers share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def common_cache(common_folder: Path) -> Iterator[Path]:
    """The cache of fixtures that last longer than a test: tracks of one clip are made once in a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VISUALDUB_CACHE", str(common_folder / "cache"))
        yield common_folder / "cache"


@pytest.fixture(scope="session")
def demo_clip(pytestconfig: pytest.Config, common_folder: Path) -> Path:
    """The demo's source: a portrait that counts to five in English, 125 frames at 25 frames/s, H.264 and AAC.

    It stands in for a recording of a speaker. It is kept in pytest's cache and made again when the demo's
    files or the speech models change.
    """
    import visualdub.demo
    from visualdub.demo.run import make_source

    demo = Path(visualdub.demo.__file__).parent
    parts = sorted(p for p in demo.rglob("*") if p.suffix in (".py", ".wav"))
    parts += sorted((demo.parent / "speech" / "data").glob("*.onnx"))  # they move the portrait's mouth
    parts += [demo.parent / "media" / "delivery.py"]  # how it is encoded
    made_from = hashlib.sha256(b"".join(p.read_bytes() for p in parts)).hexdigest()[:16]
    cache = getattr(pytestconfig, "cache", None)  # none where pytest's plugin is switched off
    folder = cache.mkdir("demo_clip") if cache else common_folder / "demo_clip"
    return made_once(folder / made_from, lambda f: make_source(f / "counting.mp4")) / "counting.mp4"


@pytest.fixture(scope="session")
def talking(common_folder: Path) -> Path:
    """A movie of a speaking portrait, 40 frames at 25 frames/s, with sound, lossless."""
    from helpers import portrait_pictures, write_movie, write_wav

    def make(folder: Path) -> None:
        sound = write_wav(folder / "talking.wav", 1.6)
        write_movie(folder / "talking.mkv", portrait_pictures(40), audio=sound)

    return made_once(common_folder / "talking", make) / "talking.mkv"


@pytest.fixture(scope="session")
def flat_actor(talking: Path, common_folder: Path, common_cache: Path) -> Path:
    """The actor of `talking`, with a renderer that paints flat skin."""
    from helpers import write_flat_actor

    from visualdub.face.tracker import cached_track

    def make(folder: Path) -> None:
        write_flat_actor(folder / "flat.actor", cached_track(talking)[0])

    return made_once(common_folder / "actor", make) / "flat.actor"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Names that are not UTF-8, in what a test printed, in characters that a worker process can send."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def own_cache(common_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests never read or fill the user's cache."""
    monkeypatch.setenv("VISUALDUB_CACHE", str(common_cache))
