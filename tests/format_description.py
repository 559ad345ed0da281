"""What is in the files that the product writes: version, keys and types, told from the bytes on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

SHARD_META = "shard"  # a shard keeps its facts as JSON in this entry of its metadata
FREE = ("files", "metrics", "losses", "stages", "facts")  # JSON objects whose keys are names, not a format


def describe(path: Path) -> dict[str, Any]:
    """Keys and types of one file: JSON, npz or safetensors."""
    if path.suffix == ".json":
        return json_keys(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {k: kind(arrays[k].dtype, arrays[k].ndim) for k in sorted(arrays)}
    return tensors(path)


def version(path: Path, key: str) -> str:
    """The version that a file states under `key`, or an npz in the array of that name."""
    if path.suffix == ".json":
        return str(json.loads(path.read_text(encoding="utf-8"))[key])
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return str(arrays[key])
    with safe_open(path, "np") as file:
        meta = file.metadata()
    return str((json.loads(meta[SHARD_META]) if SHARD_META in meta else meta)[key])


def kind(dtype: Any, dimensions: int) -> str:
    """Such as `float32 3d`; the length of a text is no part of its type."""
    name = "text" if np.dtype(dtype).kind == "U" else str(np.dtype(dtype))
    return f"{name} {dimensions}d"


def tensors(path: Path) -> dict[str, Any]:
    """Tensors and metadata of a safetensors file."""
    with safe_open(path, "np") as file:
        meta = file.metadata() or {}
        found = {k: file.get_tensor(k) for k in sorted(file.keys())}
    values: dict[str, Any] = {k: kind(v.dtype, v.ndim) for k, v in found.items()}
    if SHARD_META in meta:
        return values | {"metadata": json_keys(json.loads(meta[SHARD_META]))}
    return values | {"metadata": dict.fromkeys(sorted(meta), "str")}


def json_keys(value: Any) -> Any:
    """The shape of a JSON value: an object's keys, a list's first item, otherwise the type's name."""
    if isinstance(value, dict):
        return {k: "object" if k in FREE else json_keys(v) for k, v in sorted(value.items())}
    if isinstance(value, list):
        return [json_keys(value[0])] if value else []
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
    )


def drift(committed: Any, today: Any, at: str = "") -> list[str]:
    """Where two descriptions differ, one line each; null and an empty list agree with anything."""
    if isinstance(committed, dict) and isinstance(today, dict):
        lines = [f"{at}{k} is gone" for k in committed if k not in today]
        lines += [f"{at}{k} is new" for k in today if k not in committed]
        both = [k for k in committed if k in today]
        return lines + [line for k in both for line in drift(committed[k], today[k], f"{at}{k}.")]
    if isinstance(committed, list) and isinstance(today, list) and committed and today:
        return drift(committed[0], today[0], at)
    if committed == today or any(x in ("NoneType", []) for x in (committed, today)):
        return []
    return [f"{at.rstrip('.')} was {committed}, is {today}"]
