"""The public names of the package, and the scripts of docs/api.md."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import write_wav

import visualdub
from visualdub.media.source import probe

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"


def imported_for_type_checkers() -> dict[str, str]:
    """Name -> module inside the package, as the `if TYPE_CHECKING` block of the package imports them."""
    tree = ast.parse((ROOT / "visualdub" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [n for n in tree.body if isinstance(n, ast.If)]
    imports = [n for n in block.body if isinstance(n, ast.ImportFrom)]
    return {a.name: str(n.module).removeprefix("visualdub.") for n in imports for a in n.names}


def test_every_public_name_is_there_and_is_what_type_checkers_see() -> None:
    assert len(set(visualdub.__all__)) == len(visualdub.__all__)
    assert imported_for_type_checkers() == visualdub._MODULE_OF
    for name in visualdub.__all__:
        assert getattr(visualdub, name) is not None
    assert set(visualdub.__all__) <= set(dir(visualdub))
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        visualdub.no_such_name  # noqa: B018


def test_no_public_name_is_hidden_by_a_module() -> None:
    """Importing `visualdub.x` sets the attribute `x` of the package."""
    modules = {p.stem for p in (ROOT / "visualdub").iterdir() if p.suffix == ".py" or p.is_dir()}
    assert modules.isdisjoint(visualdub.__all__)


def test_a_name_loads_its_own_module_only() -> None:
    code = (
        "import sys, visualdub\n"
        "assert visualdub.FrameRange(2, 5).start == 2 and visualdub.Progress\n"
        "print(sorted(m for m in sys.modules if m in ('av', 'mediapipe', 'onnxruntime', 'numba', 'scipy')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"


def test_the_page_names_every_public_name() -> None:
    table = PAGE.read_text(encoding="utf-8").split("## Names")[1]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(visualdub.__all__)


@pytest.mark.slow
def test_the_scripts_of_the_page_run(
    talking: Path,
    flat_actor: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scripts = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(scripts) == 3 and all(len(script.splitlines()) <= 10 for script in scripts)
    shutil.copy(talking, tmp_path / "clip.mkv")
    shutil.copytree(flat_actor, tmp_path / "ada.actor")
    write_wav(tmp_path / "french.wav", 0.9)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(scripts), str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "rendering: 24 of 24" in printed and "the lips are predicted for 24 frames" in printed
    assert probe(tmp_path / "dubbed.mkv").frame_count == 24
    assert (tmp_path / "dubbed.mkv.report.json").is_file()
