"""The OpenJD template of a job: its parameters, steps, chunks, needs and limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farm.estimate import Cost
from farm.job import INPUTS, OUTPUT, WORK, FarmJob, JobShot
from farm.template_limits import MOST_FRAMES

SPECIFICATION = "jobtemplate-2023-09"
LONGER = 10  # times what a task should take: when it is given up
LEAST_S = 900  # that every task may take
NOTICE_S = 30  # between the word that a task is to end and its end
STEP_NAME = 64  # characters, at most

Node = dict[str, Any]


def template(job: FarmJob, shots: Sequence[JobShot], cost: Cost, media: Sequence[str] = ()) -> Node:
    """The whole template. media: parameters of folders with media that stay in place."""
    adapt = {a.name: f"Adapt {number}" for number, a in enumerate(job.adapt, 1)}
    steps = [
        step(adapt[a.name], ["adapt", "--actor", a.name], media, timeout_s=limit_s(a.minutes * 60))
        for a in job.adapt
    ]
    for entry in steps:
        entry["hostRequirements"] = needs(cost, "prepare")
    renders = []
    for shot in shots:
        needed = sorted({adapt[w.role.actor or ""] for w in shot.planned.speaking if w.role.actor in adapt})
        if not shot.chunked:
            renders += needed
            continue
        steps += [_prepare(shot, cost, media, needed), _render(job, shot, cost, media)]
        renders.append(render_name(shot.number))
    steps += [_movies(shots, cost, media, list(dict.fromkeys(renders))), _assemble(media)]
    described = f"{len(shots)} shots, {cost.frames} frames, chunks of {job.chunk}"
    return document(f"Visual Dub {job.name}", described, parameters(media), steps)


def document(name: str, description: str, defined: list[Node], steps: list[Node]) -> Node:
    """A template of steps. defined: the parameters."""
    return {
        "specificationVersion": SPECIFICATION,
        "extensions": ["TASK_CHUNKING"],
        "name": name[:128],
        "description": description,
        "parameterDefinitions": defined,
        "steps": steps,
    }


def parameters(media: Sequence[str]) -> list[Node]:
    """The parameters: the program, and the job's folders, which a scheduler maps to where they lie."""
    folder = {"type": "PATH", "objectType": "DIRECTORY"}
    return [
        {"name": "Program", "type": "STRING", "default": "vdub", "description": "the program vdub"},
        {"name": INPUTS, **folder, "dataFlow": "IN", "default": "inputs"},
        {"name": WORK, **folder, "dataFlow": "INOUT", "default": "work"},
        {"name": OUTPUT, **folder, "dataFlow": "OUT", "default": "output"},
        *({"name": name, **folder, "dataFlow": "IN"} for name in media),
    ]


def prepare_name(number: int) -> str:
    """The name of the step that prepares a shot."""
    return f"Prepare {number:04d}"


def render_name(number: int) -> str:
    """The name of the step that renders a shot."""
    return f"Render {number:04d}"


MOVIES, ASSEMBLE = "Movies", "Assemble"


def limit_s(seconds: float) -> int:
    """When a task that should take `seconds` is given up."""
    return max(LEAST_S, round(LONGER * seconds))


def step(
    name: str,
    arguments: Sequence[str],
    media: Sequence[str],
    *,
    timeout_s: int,
    after: Sequence[str] = (),
) -> Node:
    """One step of one task on the job's shots, after others."""
    roots = [f"--root={root}={{{{Param.{root}}}}}" for root in (INPUTS, WORK, OUTPUT, *media)]
    return action_step(name, [*arguments, *roots], timeout_s=timeout_s, after=after)


def action_step(name: str, arguments: Sequence[str], *, timeout_s: int, after: Sequence[str] = ()) -> Node:
    """One step of one `vdub farm task`, after others."""
    run = {
        "command": "{{Param.Program}}",
        "args": ["farm", "task", *arguments],
        "timeout": timeout_s,
        "cancelation": {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": NOTICE_S},
    }
    made: Node = {"name": name[:STEP_NAME], "script": {"actions": {"onRun": run}}}
    if after:
        made["dependencies"] = [{"dependsOn": other} for other in after]
    return made


def needs(cost: Cost, what: str, gpu: bool = False) -> Node:
    """What a machine must have for a task."""
    amounts: list[Node] = [
        {"name": "amount.worker.vcpu", "min": 1},
        {"name": "amount.worker.memory", "min": cost.memory_mib(what)},
    ]
    if gpu:
        amounts += [
            {"name": "amount.worker.gpu", "min": 1},
            {"name": "amount.worker.gpu.memory", "min": cost.gpu_memory_mib},
        ]
    return {"amounts": amounts}


def _prepare(shot: JobShot, cost: Cost, media: Sequence[str], after: Sequence[str]) -> Node:
    seconds = cost.prepare_s(shot.frame_count)
    arguments = ["prepare", "--shot", str(shot.number)]
    made = step(prepare_name(shot.number), arguments, media, timeout_s=limit_s(seconds), after=after)
    return {**made, "hostRequirements": needs(cost, "prepare")}


def _render(job: FarmJob, shot: JobShot, cost: Cost, media: Sequence[str]) -> Node:
    arguments = ["render", "--shot", str(shot.number), "--frames", "{{Task.Param.Frames}}"]
    timeout_s = limit_s(cost.render_s(job.chunk))
    after = [prepare_name(shot.number)]
    made = step(render_name(shot.number), arguments, media, timeout_s=timeout_s, after=after)
    last = shot.first + shot.frame_count - 1
    space = {
        "name": "Frames",
        "type": "CHUNK[INT]",
        "range": f"{shot.first}-{last}" if last > shot.first else str(last),
        "chunks": {"defaultTaskCount": min(job.chunk, MOST_FRAMES), "rangeConstraint": "CONTIGUOUS"},
    }
    return {
        **made,
        "parameterSpace": {"taskParameterDefinitions": [space]},
        "hostRequirements": needs(cost, "render", cost.gpu),
    }


def _movies(shots: Sequence[JobShot], cost: Cost, media: Sequence[str], after: Sequence[str]) -> Node:
    arguments = ["movie", "--shot", "{{Task.Param.Shot}}"]
    longest = max(
        cost.movie_s(s.frame_count)
        + (0 if s.chunked else cost.prepare_s(s.frame_count) + cost.render_s(s.frame_count))
        for s in shots
    )
    made = step(MOVIES, arguments, media, timeout_s=limit_s(longest), after=after)
    last = len(shots)
    space = {"name": "Shot", "type": "INT", "range": f"1-{last}" if last > 1 else "1"}
    return {
        **made,
        "parameterSpace": {"taskParameterDefinitions": [space]},
        "hostRequirements": needs(cost, "movie", cost.gpu),
    }


def _assemble(media: Sequence[str]) -> Node:
    arguments = ["assemble", f"--shown-as={{{{RawParam.{OUTPUT}}}}}"]
    return step(ASSEMBLE, arguments, media, timeout_s=LEAST_S, after=[MOVIES])
