"""What became of a dub whose processes were killed: one table for the benchmarks of every host."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from visualdub.measure.result import Finding, table, write_result


def kills_parser(description: str | None) -> argparse.ArgumentParser:
    """The options of what kills processes of a dub: its material, how often, and where the result goes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--dialogue", type=Path, required=True)
    parser.add_argument("--actor", type=Path, required=True)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    return parser


def report_kills(
    counts: Counter[tuple[str, str]], names: Sequence[str], title: str, text: str, path: Path | None
) -> None:
    """Print how often each outcome came for each of `names`, and write it where `path` says.

    counts: by name and outcome; those that begin with "before" or "after" are whole. Ends the process with
    status 1 where one is not.
    """
    outcomes = sorted({outcome for _, outcome in counts})
    rows = [[name, *(str(counts[name, o]) for o in outcomes)] for name in names]
    print(json.dumps({name: dict(zip(outcomes, row, strict=True)) for name, *row in rows}, indent=1))
    whole = ("before", "after")
    between = sum(count for (_, outcome), count in counts.items() if not outcome.startswith(whole))
    total = sum(counts.values())
    finding = Finding(f"{title}: left between two states", "0", f"{between} of {total}")
    if path is not None:
        figures = {"between": between, "kills": total}
        write_result(path, title, [text, table(["killed", *outcomes], rows)], [finding], figures)
    if between:
        raise SystemExit(f"{between} of {total} were left between two states")
