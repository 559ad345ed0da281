"""The demo's HTML report: both movies, the sheet and the measures, in one page without scripts."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from visualdub import __version__
from visualdub.storage import write_text

TEMPLATE = Path(__file__).parent / "data" / "report.html"
MEASURES = (  # where in the table, what it is, what is good
    ("reenactment.composite.psnr_crop", "PSNR of the 256 x 256 crop, dB", "higher"),
    ("reenactment.composite.psnr_mask", "PSNR inside the mask, dB", "higher"),
    ("reenactment.composite.ssim_crop", "SSIM of the crop", "1"),
    ("reenactment.mask_share", "mask's share of the crop", ""),
    ("reenactment.composite.sharpness", "sharpness of the mouth against the source", "1"),
    ("reenactment.composite.flicker", "flicker against the source", "1"),
    ("reenactment.composite.seam", "gradient along the mask's edge against the source", "1"),
    ("reenactment.mouth.lmd", "lip landmarks, mean distance, % of face width", "0"),
    ("driven.mouth.control", "control: correlation of commanded and measured opening", "1"),
    ("driven.mouth.leak", "leak: what still shows of the source's mouth", "0"),
    ("silence.mouth.open_share", "silence: share of frames with an open mouth", "0"),
)


def lookup(table: dict[str, Any], dotted: str) -> Any:
    """The value at `a.b.c`, None where a part is missing."""
    value: Any = table
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def shown(value: Any) -> str:
    """A number as text, a dash where there is none."""
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def write_page(path: Path, measures: dict[str, Any], dub: dict[str, Any], minutes: float, cores: int) -> None:
    """Write the report at `path`, beside the files it shows."""
    rows = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{shown(lookup(measures, key))}</td><td>{good}</td></tr>"
        for key, name, good in MEASURES
    )
    stages = "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{s['seconds']:.2f}</td><td>{s['fps']:.1f}</td></tr>"
        for name, s in dub["stages"].items()
    )
    values = {
        "rows": rows,
        "stages": stages,
        "minutes": f"{minutes:g}",
        "cores": str(cores),
        "version": __version__,
        "steps": str(measures["steps"]),
        "frames": str(measures["frames"]),
        "drawn": str(dub["drawn"]),
        "count": str(dub["frames"]),
        "fps": f"{dub['frames_per_second']:.1f}",
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    write_text(path, text)
