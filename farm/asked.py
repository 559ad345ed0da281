"""What a command line asks of the farm, planned: the same shots as `vdub dub` would draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from farm.bundle import Bundle, BundleOptions, bundle_of_clip, bundle_of_edit, clip_shot
from farm.job import ToAdapt
from visualdub.actor.record import Consent
from visualdub.edit.cast import Role
from visualdub.edit.media import Media
from visualdub.edit.plan import PlannedShot, Speaking
from visualdub.edit.request import EditRequest, plan_request, unpacked
from visualdub.edit.retime import SourceMap
from visualdub.edit.shot import DialogueCue, plan_shot
from visualdub.errors import BadInput
from visualdub.services import AdaptClip
from visualdub.stages import Progress
from visualdub.timing import FrameChoice, FrameRange


@dataclass(frozen=True)
class ClipRequest:
    """A dub of one clip."""

    clip: Path
    actor: str | None
    dialogue: tuple[Path, ...]
    frames: FrameRange | None = None
    choice: FrameChoice | None = None
    face: str | None = None
    movie: str | None = None  # None: CLIP_dub.mov


Asked = EditRequest | ClipRequest


def shots_of(asked: Asked, progress: Progress) -> list[PlannedShot]:
    """The shots that would be dubbed."""
    if isinstance(asked, EditRequest):
        with unpacked(asked) as request:
            return [shot for plan in plan_request(request, progress) for shot in plan.dubbed]
    return [shot for shot, _ in clip_shots(asked, progress)]


def write_bundle(asked: Asked, options: BundleOptions, progress: Progress) -> Bundle:
    """Plan, and write the bundle."""
    if isinstance(asked, EditRequest):
        with unpacked(asked) as request:
            return bundle_of_edit(plan_request(request, progress), options)
    shots = clip_shots(asked, progress)
    rate = shots[0][0].shot.rate
    return bundle_of_clip(asked.clip.stem, shots, rate, options)


def clip_shots(asked: ClipRequest, progress: Progress) -> list[tuple[PlannedShot, str]]:
    """The clip's shot for each dialogue, and the name of its movie. Raises `BadInput` where nothing is said,
    or nobody says it.
    """
    if not asked.dialogue:
        raise BadInput(f"{asked.clip}: nothing is said; expected --dialogue WAV")
    if asked.actor is None:
        raise BadInput(f"{asked.clip}: nobody says it; expected --actor")
    shot = plan_shot(asked.clip, asked.frames, progress=progress)
    if asked.choice is not None:
        shot = shot.choose(asked.choice)
    name = asked.movie or f"{asked.clip.stem}_dub.mov"
    shots = []
    for wav in asked.dialogue:
        movie = name if len(asked.dialogue) == 1 else f"{Path(name).stem}-{wav.stem}{Path(name).suffix}"
        speaking = Speaking(Role(asked.actor, asked.face), (DialogueCue(wav),))
        source = SourceMap("plain", Fraction(1), Fraction(shot.frames.start), Fraction(1))
        planned = clip_shot(
            asked.clip.name,
            Media(asked.clip, shot.info),
            speaking,
            map=source,
            frames=shot.frames,
            skipped=shot.skipped,
        )
        shots.append((planned, movie))
    if len({movie for _, movie in shots}) < len(shots):
        raise BadInput("two of the recordings have the same name; their dubs would too")
    return shots


def to_adapt(texts: Sequence[str], consent: str | None, minutes: float) -> tuple[ToAdapt, ...]:
    """The actors that are adapted first, of `NAME=CLIP[@A:B]`. Raises `BadInput` for anything else, and
    without consent.
    """
    adapted = []
    for text in texts:
        name, equals, clip = text.partition("=")
        if not equals or not name or not clip or name != Path(name).name:
            raise BadInput(f"--adapt {text!r} is no NAME=CLIP; expected such as anna=anna.mov@0:250")
        found = AdaptClip.parse(clip, None, None)
        if not found.path.is_file():
            raise BadInput(f"--adapt {text}: {found.path} is no file; expected a clip of {name}")
        if consent is None:
            raise BadInput(f'--adapt {name} needs consent; give --consent "who, when, scope"')
        Consent.parse(consent)
        adapted.append(ToAdapt(name, found.path.absolute(), found.frames, None, consent, minutes))
    return tuple(adapted)
