"""The network of an actor package as a file for a runtime: the `export` service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.crops import Window, reference_windows
from exporters.onnx import Export, checked_graph, export_renderer
from training.actor_network import load_network
from training.data.windows import picture_tensor
from training.renderer.actor_renderer import ActorRenderer
from training.renderer.generator import Generator
from visualdub.actor.detail import read_detail
from visualdub.actor.package import REFERENCES, RENDERER, TEXTURE, WEIGHTS, file_hash, seal
from visualdub.actor.record import ActorRecord, load_record
from visualdub.errors import ActorError
from visualdub.render.providers import FP32, INT8, model_file
from visualdub.stages import Progress

WINDOWS = 12  # of the actor, which an export is calibrated and checked on


@dataclass(frozen=True)
class TrainedRenderer:
    """An actor's renderer in PyTorch, and what it is checked on."""

    record: ActorRecord
    renderer: ActorRenderer
    windows: list[Window]  # empty where no face is found in the references
    about: dict[str, str]  # who and what, for the metadata of an exported file


def export_actor(folder: Path, progress: Progress, precision: str = FP32, write: bool = True) -> Export:
    """Write the renderer in `precision` into the actor package `folder`, checked against PyTorch on crops of
    the actor, and seal the package. write: False checks and leaves the package as it is.

    Raises `ActorError` where the package holds no network of this version or not the references the network
    was trained with, `VisualDubError` where ONNX Runtime and PyTorch differ by more than the bound of the
    precision, and `Interrupted` once `progress` was cancelled; the package is then as it was.
    """
    progress.check()
    trained = load_trained(folder)
    if precision == INT8 and not trained.windows:
        raise ActorError(
            f"{folder / REFERENCES} shows no face; expected crops of the actor to calibrate int8 on"
        )
    progress.check()
    target = model_file(folder / RENDERER, precision)
    if not write:
        return checked_graph(trained.renderer, trained.windows, trained.about, precision, target.name)[1]
    done = export_renderer(trained.renderer, target, trained.windows, trained.about, precision)
    seal(folder)
    return done


def load_trained(folder: Path) -> TrainedRenderer:
    """The renderer of the package `folder` in PyTorch.

    Raises `ActorError` where the package holds no network of this version or not the references the network
    was trained with.
    """
    stored = load_network(folder)
    paths = sorted((folder / REFERENCES).glob("*.png"))
    if len(paths) != stored.config.references:
        raise ActorError(
            f"{folder / REFERENCES} holds {len(paths)} pictures; expected {stored.config.references}, as the"
            " network was trained with"
        )
    pictures: NDArray[np.uint8] = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths])
    network = Generator(stored.config)
    try:
        network.load_state_dict(dict(stored.weights))
    except RuntimeError as e:
        raise ActorError(f"{folder} holds weights of another shape: {str(e).splitlines()[0]}") from e
    references = picture_tensor(pictures)
    renderer = ActorRenderer(network, stored.texture, references[None], stored.sharpening_gain)
    record = load_record(folder)
    windows = reference_windows(
        pictures,
        record.face_model,
        stored.config.window,
        WINDOWS,
        read_detail(folder) if stored.config.aligned else None,
        stored.config.aligned,
    )
    about = {
        "actor": record.name,
        "prior_sha256": record.prior_hash or "none",
        "weights_sha256": file_hash(folder / WEIGHTS),
        "texture_sha256": file_hash(folder / TEXTURE),
    }
    return TrainedRenderer(record, renderer.float().cpu().eval(), windows, about)
