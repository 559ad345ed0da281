"""How an actor speaks: the numbers that turn the speech model's units into this face's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.track import Track
from visualdub.speech.activity import mouth_moving, tracked_opening
from visualdub.speech.predict import MODEL, SpeechMotion, model_hash, model_record

GENERIC_SECONDS = (
    0.5  # of the actor speaking: the generic style weighs as much as this; 2 s cost 0.03 of the lip error
)


@dataclass(frozen=True)
class SpeechStyle:
    """Parameter = centre + gain * motion, jaw (radians) first, then the face model's speech components. m = 1
    + n_speech.

    The paper's last layer, one linear transform for each parameter, is `layer`: what the actor's way of
    speaking adds to the generic motion, by what the speech model's networks hear.
    """

    centre: tuple[float, ...]  # (m,) the actor's mean while speaking
    gain: tuple[float, ...]  # (m,) the actor's standard deviation while speaking
    seconds: float  # of the actor speaking that this was measured on; 0 = the generic style
    face_model: str
    layer: tuple[
        tuple[float, ...], ...
    ] = ()  # (H + 1, m) as `predict_motion` takes it; empty: the generic way of speaking
    speech_model: str = ""  # `model_hash` of the model that the layer belongs to

    def to_json(self) -> dict[str, Any]:
        """Plain values for `actor.json`."""
        layer = (
            {"layer": [list(row) for row in self.layer], "speech_model": self.speech_model}
            if self.layer
            else {}
        )
        numbers = {"centre": list(self.centre), "gain": list(self.gain), "seconds": self.seconds}
        return {**numbers, "face_model": self.face_model, **layer}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SpeechStyle:
        """What `to_json` gave. Raises `BadInput` for anything else."""
        try:
            centre, gain = (tuple(float(x) for x in values[k]) for k in ("centre", "gain"))
            layer = tuple(tuple(float(x) for x in row) for row in values.get("layer", ()))
            model = str(values.get("speech_model", ""))
            style = cls(centre, gain, float(values["seconds"]), str(values["face_model"]), layer, model)
        except (KeyError, TypeError, ValueError) as e:
            raise BadInput(
                f"speech style cannot be read: {e!r}; expected centre, gain, seconds and face_model"
            ) from e
        if len(centre) != len(gain) or not centre:
            raise BadInput(
                f"the actor's speech style has {len(centre)} centres and {len(gain)} gains; expected as many"
                " of each"
            )
        if any(len(row) != len(centre) for row in layer):
            raise BadInput(
                f"the actor's speech layer does not have {len(centre)} numbers in each row; adapt again"
            )
        return style

    def own_layer(self) -> NDArray[np.float64] | None:
        """The actor's layer for `predict_motion`; None where there is none, or it was made for another speech
        model than ours.
        """
        return np.array(self.layer) if self.layer and self.speech_model == model_hash(MODEL) else None

    def apply(self, motion: SpeechMotion) -> NDArray[np.float64]:
        """(n, m) jaw and speech components of this actor speaking `motion`. Raises `BadInput` where the
        models differ.
        """
        z = np.column_stack([motion.jaw, motion.expression])
        if z.shape[1] != len(self.centre):
            raise BadInput(
                f"the speech model moves {z.shape[1]} parameters, the style has {len(self.centre)}; adapt"
                " again"
            )
        return np.asarray(np.asarray(self.centre) + np.asarray(self.gain) * z)


def speech_parameters(track: Track, count: int) -> NDArray[np.float64]:
    """(n, count) of a track: jaw, then the first count - 1 expression components."""
    return np.column_stack([track.jaw, track.expression[:, : count - 1]])


def spoken_statistics(
    values: NDArray[np.float64], spoken: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column of `values` (n, m) over the frames `spoken` (n,)."""
    return values[spoken].mean(0), values[spoken].std(0)


def fit_style(track: Track, record: dict[str, Any] | None = None) -> SpeechStyle:
    """The style of a tracked actor, from the frames whose mouth moves, without a layer.

    record: of the speech model, by default the built-in one's.

    Mean and standard deviation are pulled toward the generic style (over the actor's own rest) as if that had
    been seen for GENERIC_SECONDS, so that a second of speech does not make a caricature. A track without
    usable frames gives the generic style over the neutral face. Raises `BadInput` for a track of a face model
    that the speech model was not made for.
    """
    record = record or model_record()
    if track.face_model != record["face_model"]:
        raise BadInput(
            f"{track.source} was tracked with {track.face_model}; the speech model moves"
            f" {record['face_model']}"
        )
    lift, spread = np.array(record["generic"]["lift"]), np.array(record["generic"]["gain"])
    values = speech_parameters(track, len(lift))
    usable = track.usable & np.isfinite(values).all(1)
    spoken = usable & mouth_moving(track)
    seconds = float(spoken.sum() / track.rate)
    rest = rest_of(values[usable], tracked_opening(track)[usable]) if usable.any() else np.zeros(len(lift))
    centre, gain = rest + lift, spread
    if spoken.any():
        own_centre, own_gain = spoken_statistics(values, spoken)
        weight = seconds / (seconds + GENERIC_SECONDS)
        centre = weight * own_centre + (1 - weight) * centre
        gain = np.sqrt(weight * own_gain**2 + (1 - weight) * gain**2)
    return SpeechStyle(tuple(map(float, centre)), tuple(map(float, gain)), seconds, track.face_model)


def rest_of(values: NDArray[np.float64], opening: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mouth at rest: median over the tenth of the frames (n, m) whose lips are least apart, `opening`
    (n,). Returns (m,).
    """
    closed = np.argsort(opening, kind="stable")[: max(1, len(values) // 10)]
    return np.asarray(np.median(values[closed], axis=0))


def rest_pose(track: Track) -> tuple[float, NDArray[np.float64]]:
    """The actor's mouth at rest, lips closed: jaw in radians and all expression components (K,), as `perform`
    wants them.

    A track without usable frames rests as the neutral face does: zeros.
    """
    values = np.column_stack([track.jaw, track.expression])
    usable = track.usable & np.isfinite(values).all(1)
    if not usable.any():
        return 0.0, np.zeros(track.expression.shape[1])
    rest = rest_of(values[usable], tracked_opening(track)[usable])
    return float(rest[0]), rest[1:]
