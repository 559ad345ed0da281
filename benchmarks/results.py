"""Write docs/results.md from the JSON files in docs/results, which the measuring commands write.

python benchmarks/results.py            writes the page
python benchmarks/results.py --check    exits 1 where the page is not what the files give
python benchmarks/results.py --table    prints the rows of the README's table
"""

from __future__ import annotations

import argparse
import difflib
import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
FORMAT = "visualdub result 1"
HEAD = """# Results

`make results` writes this page from the JSON files in [results](results); nothing here is written by hand.
Each section names the command that measured it, the version of the tree and the machine, so that anybody can
measure it again. What earlier trees measured is in the notebook, [notes.md](notes.md).
"""


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """The results of a folder by file name, sorted. Raises `SystemExit` that names a file of another kind."""
    results = {}
    for path in sorted(folder.glob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise SystemExit(f"{path} is not a result; expected a file that a command wrote with --json")
        results[path.name] = values
    return results


def machine_line(machine: dict[str, Any]) -> str:
    """The machine in one sentence."""
    vector = ", ".join(machine["vector"]) or "no AVX2"
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {vector}, {machine['memory_gib']} GiB of memory"
    ]
    parts.append(f"{machine['system']}, Python {machine['python']}")
    if machine["threads"]:
        parts.append(f"`OMP_NUM_THREADS={machine['threads']}`")
    if machine["load_at_start"] is not None:
        parts.append(f"load {machine['load_at_start']} at the start")
    return "; ".join(parts)


def section(values: dict[str, Any]) -> str:
    """One result as a section of the page."""
    made = f"{values['date']}, version {values['tree']}. {machine_line(values['machine'])}."
    text = [f"#{part}" if part.startswith("#") else part for part in values["text"]]
    return "\n\n".join([f"## {values['title']}", f"`{values['command']}`", made, *text]) + "\n"


def page(folder: Path) -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(v) for v in read_results(folder).values())])


def readme_table(folder: Path) -> str:
    """The findings of every result as the rows of the README's table."""
    rows = ["| what | command | asked | measured | date, machine |", "|---|---|---|---|---|"]
    for values in read_results(folder).values():
        machine, command = values["machine"], values["command"].partition(" --json")[0]
        vector = (machine["vector"] or ["no AVX2"])[-1]
        where = f"{values['date']}, {machine['cores']} cores, {vector}, load {machine['load_at_start']}"
        for f in values["findings"]:
            rows.append(f"| {f['what']} | `{command}` | {f['asked']} | {f['measured']} | {where} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write, check or print."""
    parser = argparse.ArgumentParser(description="Write docs/results.md from the files in docs/results.")
    parser.add_argument("--folder", type=Path, default=DOCS / "results", help="of the JSON files")
    parser.add_argument("-o", "--output", type=Path, default=DOCS / "results.md", help="the page")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page differs")
    parser.add_argument("--table", action="store_true", help="print the rows of the README's table")
    args = parser.parse_args()
    if args.table:
        print(readme_table(args.folder), end="")
        return
    text = page(args.folder)
    if not args.check:
        args.output.write_text(text, encoding="utf-8")
        return
    there = args.output.read_text(encoding="utf-8") if args.output.is_file() else ""
    difference = difflib.unified_diff(
        there.splitlines(), text.splitlines(), str(args.output), "results", lineterm=""
    )
    lines = list(difference)
    print("\n".join(lines))
    raise SystemExit(1 if lines else 0)


if __name__ == "__main__":
    main()
