"""A bundle for OpenCue: the layers of its outline, made of the steps that OpenJD runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from farm.bundle import TEMPLATE, parameter_values
from farm.job import INPUTS, OUTPUT, WORK
from visualdub.storage import write_json, write_text

LAYERS, SCRIPT = "opencue_layers.json", "outline.py"
TEXT = '''"""The outline of this bundle, for pycuerun: OpenCue's own Python, which finds the package farm."""

from farm.cue_layer import fill_current

fill_current()
'''


def write_outline(bundle: Path) -> Path:
    """Write the outline script of a bundle, and its layers. Returns the script."""
    template = json.loads((bundle / TEMPLATE).read_text(encoding="utf-8"))
    layers = [layer_of(step, parameter_values(bundle)) for step in template["steps"]]
    name = "_".join(template["name"].lower().split())
    write_json(bundle / LAYERS, {"name": name, "layers": layers})
    write_text(bundle / SCRIPT, TEXT)
    return bundle / SCRIPT


def layer_name(step: str) -> str:
    """The name of a step as OpenCue takes it."""
    return step.lower().replace(" ", "_")


def layer_of(step: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """One layer: words of its command, range and chunk, needs, and the layers it waits for. values: of the
    parameters for media that stay in place.
    """
    action = step["script"]["actions"]["onRun"]
    (space,) = step.get("parameterSpace", {}).get("taskParameterDefinitions", [{"range": "1"}])
    amounts = {a["name"]: a["min"] for a in step.get("hostRequirements", {}).get("amounts", [])}
    needs: dict[str, Any] = {"timeout": -(-action["timeout"] // 60)}  # minutes
    if (memory := amounts.get("amount.worker.memory")) is not None:
        needs["memory"] = f"{memory}m"
    if "amount.worker.gpu" in amounts:
        needs |= {
            "gpus": amounts["amount.worker.gpu"],
            "gpu_memory": f"{amounts['amount.worker.gpu.memory']}m",
        }
    return {
        "name": layer_name(step["name"]),
        "words": [_word(w, values) for w in action["args"]],
        "range": space["range"],
        "chunk": space.get("chunks", {}).get("defaultTaskCount", 1),
        "needs": needs,
        "after": [layer_name(d["dependsOn"]) for d in step.get("dependencies", [])],
    }


def _word(word: str, values: dict[str, str]) -> str:
    """An argument of the template for OpenCue, which maps no paths."""
    folders = {INPUTS: "{bundle}/inputs", WORK: "{bundle}/work", OUTPUT: "{bundle}/output", **values}
    for name, folder in folders.items():
        word = word.replace(f"{{{{Param.{name}}}}}", folder).replace(f"{{{{RawParam.{name}}}}}", folder)
    return word.replace("{{Task.Param.Frames}}", "{frames}").replace("{{Task.Param.Shot}}", "{frame}")
