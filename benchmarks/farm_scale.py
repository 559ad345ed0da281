"""What ten thousand shots take on a thousand workers that fail, and what breaks first (docs/scale.md).

python -m benchmarks.farm_scale --json farm-scale.json
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from farm.simulate import Farm, Simulation
from visualdub.measure.result import write_result


def cases() -> dict[str, Farm]:
    """The farm as it is built, and with one thing changed at a time."""
    built = Farm()
    return {
        "as built": built,
        "one file a frame": replace(built, file_per_frame=True),
        "movies in the last task": replace(built, movies_apart=False),
        "killed chunks begin anew": replace(built, resume=False),
        "chunks of 12": replace(built, chunk=12),
        "chunks of 150": replace(built, chunk=150),
        "one task in ten fails": replace(built, fails=0.1),
        "scheduler of 2 tasks/s": replace(built, dispatch=2.0),
        "file server of 0.2 GB/s": replace(built, server=2e8),
        "no failures": replace(built, fails=0.0, dies_s=1e12),
    }


def main() -> None:
    """Run every case and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    chosen = parser.parse_args().json
    results = {}
    for name, farm in cases().items():
        out = results[name] = Simulation(farm).run().as_dict()
        print(
            f"{name:26} {out['hours']:7.2f} h, {out['utilisation']:.0%} busy, {out['tasks']} tasks,"
            f" {out['failed']} failed, {out['rendered'] / out['frames']:.2f} frames drawn for each,"
            f" {out['files']} files, {out['mean_mib_s']:.0f} MiB/s ({out['busiest_mib_s']:.0f} at most)",
            flush=True,
        )
    if chosen is not None:
        text = [f"{name}: {out['hours']:.2f} hours" for name, out in results.items()]
        figures = {f"{name}, {key}": value for name, out in results.items() for key, value in out.items()}
        write_result(chosen, "Ten thousand shots on a simulated farm", text, [], figures)


if __name__ == "__main__":
    main()
