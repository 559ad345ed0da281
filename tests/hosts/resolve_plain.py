"""Projects of the double compared without the identifiers of what the plug-in makes, which count on."""

from __future__ import annotations

import json
from typing import Any


def without_uids(state: bytes) -> Any:
    """The values of a written project, by which two of them are compared."""
    values = json.loads(state)
    names = {m["uid"]: m["path"] for m in values["media"]} | {b["uid"]: b["name"] for b in values["bins"]}
    text = json.dumps(values)
    for uid in sorted(names, key=len, reverse=True):
        text = text.replace(f'"{uid}"', f'"{names[uid]}"')
    values = json.loads(text)
    for line in values["lines"]:
        for track in line["tracks"][1:]:
            for clip in track["clips"]:
                clip["uid"] = clip["name"]
    values["media"].sort(key=lambda m: m["path"])
    return values
