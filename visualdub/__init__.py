"""Visual Dub's core: what a dub is made of, from decoding a clip to encoding it again.

What a pipeline developer needs stands here by name, see docs/api.md. The module behind a name is loaded when
the name is first used, so that importing the package is quick. `logging` is the application's to set up.
"""

from __future__ import annotations

import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from visualdub.errors import (
    ActorError,
    BadInput,
    InternalError,
    Interrupted,
    MediaError,
    NoFace,
    OutputError,
    VisualDubError,
)

if TYPE_CHECKING:
    from visualdub.actor.package import Actor, load_actor
    from visualdub.dub import (
        Output,
        TrackedShot,
        dialogue_performance,
        dub_shot,
        shot_audio,
        track_driver,
        track_shot,
    )
    from visualdub.edit.shot import DialogueCue, Shot, plan_shot
    from visualdub.face.track import Performance, Track
    from visualdub.face.tracker import track_clip
    from visualdub.media.audio import read_audio
    from visualdub.media.source import open_source, probe
    from visualdub.records import DubReport, FrameKey
    from visualdub.render.shot_renderer import RenderedFrame, RenderOptions, ShotRenderer
    from visualdub.speech.predict import SpeechMotion, predict_motion
    from visualdub.speech.retarget import DrivenMouth
    from visualdub.stages import Progress
    from visualdub.timing import FrameRange

# ONNX Runtime would keep a database of its use in the user's cache folder and send it to its maker, from a
# thread of its own. It asks for this when it is loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
__all__ = [
    "Actor",
    "ActorError",
    "BadInput",
    "DialogueCue",
    "DrivenMouth",
    "DubReport",
    "FrameKey",
    "FrameRange",
    "InternalError",
    "Interrupted",
    "MediaError",
    "NoFace",
    "Output",
    "OutputError",
    "Performance",
    "Progress",
    "RenderOptions",
    "RenderedFrame",
    "Shot",
    "ShotRenderer",
    "SpeechMotion",
    "Track",
    "TrackedShot",
    "VisualDubError",
    "__version__",
    "dialogue_performance",
    "dub_shot",
    "load_actor",
    "open_source",
    "plan_shot",
    "predict_motion",
    "probe",
    "read_audio",
    "shot_audio",
    "track_clip",
    "track_driver",
    "track_shot",
]

_MODULE_OF = {  # a test holds this against the imports above; no name may be a module's of this package
    "Actor": "actor.package",
    "DialogueCue": "edit.shot",
    "DrivenMouth": "speech.retarget",
    "DubReport": "records",
    "FrameKey": "records",
    "FrameRange": "timing",
    "Output": "dub",
    "Performance": "face.track",
    "Progress": "stages",
    "RenderOptions": "render.shot_renderer",
    "RenderedFrame": "render.shot_renderer",
    "Shot": "edit.shot",
    "ShotRenderer": "render.shot_renderer",
    "SpeechMotion": "speech.predict",
    "Track": "face.track",
    "TrackedShot": "dub",
    "dialogue_performance": "dub",
    "dub_shot": "dub",
    "load_actor": "actor.package",
    "open_source": "media.source",
    "plan_shot": "edit.shot",
    "predict_motion": "speech.predict",
    "probe": "media.source",
    "read_audio": "media.audio",
    "shot_audio": "dub",
    "track_clip": "face.tracker",
    "track_driver": "dub",
    "track_shot": "dub",
}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Load the module of a name of `__all__` and keep the name here."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
