"""What the tests of several hosts share."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BRIDGE = (
    "import sys; sys.path[:0] = [{root!r}]; from daemon.commands import bridge;"
    " given = dict(zip(sys.argv[2::2], sys.argv[3::2]));"  # as `vdub bridge` has them: name and value
    " bridge(given['--client'], given.get('--endpoint'))"
)


def bridge_words() -> list[str]:
    """How the bridge of this checkout is started, in place of `vdub`."""
    return [sys.executable, "-c", BRIDGE.format(root=str(ROOT))]
