"""Services of other packages: found by entry point, or the extra to install is named."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NoReturn

import pytest

from visualdub import services
from visualdub.errors import BadInput
from visualdub.services import AdaptClip, adapt_service, export_service
from visualdub.timing import FrameRange


class NeedsTorch:
    """An entry point whose package needs another one that is missing."""

    def load(self) -> NoReturn:
        raise ImportError("No module named 'torch'")


@pytest.mark.parametrize(("find", "extra"), [(adapt_service, "training"), (export_service, "exporters")])
def test_a_service_that_is_missing_names_the_extra(
    find: object, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(find)
    monkeypatch.setattr(services, "_offered", dict)
    with pytest.raises(BadInput, match=rf"is not installed; pip install 'visualdub\[{extra}\]'"):
        find()
    monkeypatch.setattr(services, "_offered", lambda: dict.fromkeys(services.EXTRA, NeedsTorch()))
    with pytest.raises(BadInput, match=rf"No module named 'torch'.*pip install 'visualdub\[{extra}\]'"):
        find()


def test_a_service_is_what_its_entry_point_names(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("adapt", "visualdub.services:AdaptClip.parse", services.GROUP)
    monkeypatch.setattr(services, "entry_points", lambda group: [point] if group == services.GROUP else [])
    assert adapt_service() == AdaptClip.parse
    with pytest.raises(BadInput, match="'export' is not installed"):
        export_service()


def test_pyproject_offers_both_services() -> None:
    """What an installation will find, whatever is installed here."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    offered = project["entry-points"][services.GROUP]
    assert offered.keys() == services.EXTRA.keys()
    for name, value in offered.items():
        assert callable(EntryPoint(name, value, services.GROUP).load())
        assert services.EXTRA[name] in project["optional-dependencies"]


def test_clips_are_read_with_and_without_frames(tmp_path: Path) -> None:
    clip = AdaptClip.parse("a/b.mp4@3:9", "0:5", None)
    assert clip == AdaptClip(Path("a/b.mp4"), FrameRange(3, 9), None)
    assert AdaptClip.parse("b.mp4", "0:5", "1") == AdaptClip(Path("b.mp4"), FrameRange(0, 5), "1")
    odd = tmp_path / "x@1:2"
    odd.write_text("")
    assert AdaptClip.parse(str(odd), None, None).path == odd
