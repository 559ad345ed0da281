"""Files of earlier versions: the names they hold are translated when a file is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "atlas": "uv_embedding",  # parameter of the generator
    "layer_weights": "basis_weights",  # module of the generator
    "spread": "unstack",  # module of the generator
    "crispness": "sharpening_gain",  # beside an actor's texture
    "atlas_channels": "uv_embedding_channels",  # field of the generator's configuration
}


def current_names(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a state dict, of a file of tensors or of a configuration, under the names of this
    version.

    A state dict's key is dotted and may stand behind a scope and a slash, as in "network/atlas". An earlier
    configuration gives the view as top, bottom, left, right; it becomes a `Box`'s left, top, right, bottom.
    """
    renamed: dict[str, Any] = {}
    for key, value in entries.items():
        scope, slash, name = key.rpartition("/")
        module, dot, rest = name.partition(".")
        if key == "view":
            top, bottom, left, right = value
            renamed["view_box"] = (left, top, right, bottom)
        else:
            renamed[f"{scope}{slash}{RENAMED.get(module, module)}{dot}{rest}"] = value
    return renamed
