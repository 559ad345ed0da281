"""A bundle that trains a prior: clips are packed in parts, the network is trained, people are measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farm.bundle import Copies, fill_bundle, write_references
from farm.job import INPUTS, OUTPUT, WORK, below
from farm.template import LEAST_S, Node, action_step, document, limit_s, parameters
from visualdub.errors import BadInput
from visualdub.storage import protect

CLIPS, TRAINING = "clips", "training"  # folders below `INPUTS`
DATASET, PRIOR, MEASURES = f"{{{{Param.{WORK}}}}}/people", "prior.safetensors", "prior-people.json"
PREPARE, COLLECT, TRAIN, MEASURE = "Prepare", "Collect", "Train", "Measure"
PACK_S = 0.15  # seconds a frame of a clip, tracking included; only time-outs depend on it
MEMORY_MIB = {PREPARE: 1500, TRAIN: 3000}  # asked for; of training, for each process
GPU_MEMORY_MIB = 16384  # asked for where the full network is trained


@dataclass(frozen=True)
class Packing:
    """How clips become a dataset, as `vdub train prepare` has it. parts: tasks that pack at once."""

    frames: int = 1500
    quality: int = 90
    validation: str | None = None
    parts: int = 4


@dataclass(frozen=True)
class Training:
    """How the network is trained, as `vdub train prior` has it. processes: of `torchrun`, on one machine."""

    steps: int | None = None
    minutes: float | None = None
    size: str = "small"
    batch: int = 1
    accumulate: int = 1
    workers: int = 0
    rate: float | None = None
    prior: Path | None = None  # to start from
    seed: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Measuring:
    """How the prior is measured: people of the validation list are adapted to. steps: after which they are
    measured; frames: that they are known from.
    """

    steps: tuple[int, ...] = (0, 10, 50, 150, 500)
    frames: int = 100


@dataclass(frozen=True)
class TrainingBundle:
    """What a bundle of a training is made of. hours: after which training or measuring is given up."""

    folder: Path
    clips: tuple[Path, ...]
    packing: Packing = field(default_factory=Packing)
    training: Training = field(default_factory=Training)
    measuring: Measuring = field(default_factory=Measuring)
    hours: float = 72.0
    in_place: bool = False  # folders of clips stay where they are and are declared to the scheduler


def bundle_of_training(asked: TrainingBundle) -> Path:
    """Write the bundle; its template. Raises `BadInput` for folders or figures that cannot be used,
    `OutputError` where the bundle cannot be written.
    """
    _check(asked)
    protect([*asked.clips, asked.training.prior], [asked.folder])
    return fill_bundle(asked.folder, lambda partial: _fill(partial, asked)) / "template.json"


def _check(asked: TrainingBundle) -> None:
    for folder in asked.clips:
        if not folder.is_dir():
            raise BadInput(f"{folder} is not a folder; expected a folder of clips")
    start = asked.training.prior
    if start is not None and not start.is_file():
        raise BadInput(f"--prior {start} is no file; expected a prior to start from")
    for name, value in (("--parts", asked.packing.parts), ("--processes", asked.training.processes)):
        if value < 1:
            raise BadInput(f"{name} {value} is out of range; expected 1 or more")


def _fill(partial: Path, asked: TrainingBundle) -> Path:
    copies = Copies(partial / "inputs", asked.in_place)
    clips = [copies.clips(folder, CLIPS) for folder in asked.clips]
    prior = asked.training.prior
    start = None if prior is None else copies.file(prior, TRAINING)
    validation = asked.packing.validation
    listed = validation and Path(validation).is_file() and copies.file(Path(validation), TRAINING)
    roots = {INPUTS: partial / "inputs", **copies.roots}
    people = validation and (_parameter(listed, roots) if listed else validation)
    pack = _pack(asked.packing, [_parameter(c, roots) for c in clips], people)
    train = _train(asked.training, None if start is None else _parameter(start, roots))
    frames = len(_movies(asked.clips)) * asked.packing.frames
    steps = _steps(asked, pack, train, frames)
    title = f"Visual Dub prior of {', '.join(c.name for c in asked.clips)}"
    described = f"clips packed in {asked.packing.parts} parts, {asked.training.processes} processes train"
    write_references(partial, copies, document(title, described, parameters(tuple(copies.roots)), steps))
    return partial


def _movies(folders: tuple[Path, ...]) -> list[Path]:
    """Files that may be clips."""
    return [p for folder in folders for p in folder.rglob("*") if p.is_file() and p.suffix != ".json"]


def _parameter(path: Path, roots: dict[str, Path]) -> str:
    """A path of the bundle as an argument of the template."""
    root, *parts = below(path, roots).split("/")
    return "/".join((f"{{{{Param.{root}}}}}", *parts))


def _pack(packing: Packing, clips: list[str], validation: str | None) -> list[str]:
    """The words that pack all clips."""
    words = ["-m", "visualdub.cli", "train", "prepare", *clips, "-o", DATASET]
    words += ["--frames", str(packing.frames), "--quality", str(packing.quality)]
    return [*words, *(["--validation", validation] if validation else [])]


def _train(training: Training, start: str | None) -> list[str]:
    """The words that train, by `torchrun`, which picks a free port."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(training.processes)]
    words += ["-m", "visualdub.cli", "train", "prior", DATASET, "-o", f"{{{{Param.{OUTPUT}}}}}/{PRIOR}"]
    options: dict[str, Any] = {
        "--steps": training.steps,
        "--minutes": training.minutes,
        "--size": training.size,
        "--batch": training.batch,
        "--accumulate": training.accumulate,
        "--workers": training.workers,
        "--rate": training.rate,
        "--prior": start,
        "--seed": training.seed,
    }
    return words + [w for name, value in options.items() if value is not None for w in (name, str(value))]


def _steps(asked: TrainingBundle, pack: list[str], train: list[str], frames: int) -> list[Node]:
    """Parts of the clips at once, their index, the training and, where people are held out, measuring."""
    parts, limit = asked.packing.parts, round(asked.hours * 3600)
    part = [*pack, "--part", f"{{{{Task.Param.Part}}}}/{parts}"]
    prepare = _task(PREPARE, part, limit_s(PACK_S * frames / parts), [])
    space = {"name": "Part", "type": "INT", "range": f"1-{parts}" if parts > 1 else "1"}
    prepare["parameterSpace"] = {"taskParameterDefinitions": [space]}
    prepare["hostRequirements"] = _needs(1, MEMORY_MIB[PREPARE], 0)
    collect = _task(COLLECT, pack, limit_s(PACK_S * frames), [PREPARE])
    training = _task(TRAIN, train, max(limit, LEAST_S), [COLLECT])
    count = asked.training.processes
    gpus = count if asked.training.size == "full" else 0
    training["hostRequirements"] = _needs(count, count * MEMORY_MIB[TRAIN], gpus)
    made = [prepare, collect, training]
    if asked.packing.validation:
        made.append(_task(MEASURE, _measure(asked.measuring), max(limit, LEAST_S), [TRAIN]))
        made[-1]["hostRequirements"] = _needs(1, MEMORY_MIB[TRAIN], min(1, gpus))
    return made


def _measure(measuring: Measuring) -> list[str]:
    output = f"{{{{Param.{OUTPUT}}}}}"
    words = ["-m", "training.experiments.margin", DATASET, "--priors", f"{output}/{PRIOR}"]
    words += ["--steps", *map(str, measuring.steps), "--frames", str(measuring.frames)]
    return [*words, "-o", f"{output}/{MEASURES}"]


def _task(name: str, words: list[str], timeout_s: int, after: list[str]) -> Node:
    return action_step(name, ["python", "--", *words], timeout_s=timeout_s, after=after)


def _needs(cores: int, memory_mib: int, gpus: int) -> Node:
    amounts: list[Node] = [
        {"name": "amount.worker.vcpu", "min": cores},
        {"name": "amount.worker.memory", "min": memory_mib},
    ]
    if gpus:
        amounts += [
            {"name": "amount.worker.gpu", "min": gpus},
            {"name": "amount.worker.gpu.memory", "min": GPU_MEMORY_MIB},
        ]
    return {"amounts": amounts}
