"""How one actor speaks: the numbers that turn the speech model's relative motion into this actor's face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.track import Track
from visualdub.speech.activity import mouth_activity, tracked_opening
from visualdub.speech.predict import MODEL, SpeechMotion, model_hash, model_record

# The generic style weighs as much as this time of the actor speaking; 2 s cost 0.03 of the lip error.
GENERIC_SECONDS = 0.5
# Fields of `SpeechStyle` whose names in an actor package are older; they stay, so that packages can be read.
STORED_NAMES = {"mean": "centre", "scale": "gain", "adapter": "layer"}


@dataclass(frozen=True)
class SpeechStyle:
    """An actor's m = 1 + n_speech mouth parameters: parameter = mean + scale * motion.

    The jaw, in radians, comes first, then the face model's speech components. `adapter` is the paper's last
    layer, one linear transform for each parameter: it maps the hidden numbers of the speech model to what
    this actor's way of speaking adds to the generic motion.
    """

    mean: tuple[float, ...]  # (m,) the actor's mean while speaking
    scale: tuple[float, ...]  # (m,) the actor's standard deviation while speaking
    seconds: float  # of the actor speaking, from which mean and scale were measured; 0: the generic style
    face_model: str
    adapter: tuple[tuple[float, ...], ...] = ()  # (H + 1, m); empty: the generic way of speaking
    speech_model: str = ""  # `model_hash` of the model that the adapter was fitted to

    def to_json(self) -> dict[str, Any]:
        """Plain values to store in an actor package."""
        values: dict[str, Any] = {
            STORED_NAMES["mean"]: list(self.mean),
            STORED_NAMES["scale"]: list(self.scale),
            "seconds": self.seconds,
            "face_model": self.face_model,
        }
        if self.adapter:
            values[STORED_NAMES["adapter"]] = [list(row) for row in self.adapter]
            values["speech_model"] = self.speech_model
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SpeechStyle:
        """The style that `to_json` stored. Raises `BadInput` for anything else."""
        try:
            mean, scale = (tuple(float(x) for x in values[STORED_NAMES[k]]) for k in ("mean", "scale"))
            adapter = tuple(tuple(float(x) for x in row) for row in values.get(STORED_NAMES["adapter"], ()))
            model = str(values.get("speech_model", ""))
            style = cls(mean, scale, float(values["seconds"]), str(values["face_model"]), adapter, model)
        except (KeyError, TypeError, ValueError) as e:
            raise BadInput(
                f"speech style cannot be read: {e!r}; expected {STORED_NAMES['mean']},"
                f" {STORED_NAMES['scale']}, seconds and face_model"
            ) from e
        if len(mean) != len(scale) or not mean:
            raise BadInput(
                f"the actor's speech style has {len(mean)} means and {len(scale)} scales; expected as many of"
                " each"
            )
        if any(len(row) != len(mean) for row in adapter):
            raise BadInput(
                f"the actor's speech adapter does not have {len(mean)} numbers in each row; adapt again"
            )
        return style

    def usable_adapter(self) -> NDArray[np.float64] | None:
        """The adapter as `predict_motion` takes it; None without one, or where it is of another speech model
        than the shipped one.
        """
        usable = self.adapter and self.speech_model == model_hash(MODEL)
        return np.array(self.adapter) if usable else None

    def apply(self, motion: SpeechMotion) -> NDArray[np.float64]:
        """(n, m) jaw and speech components of this actor speaking `motion`.

        Raises `BadInput` where the motion has another number of parameters.
        """
        z = np.column_stack([motion.jaw, motion.expression])
        if z.shape[1] != len(self.mean):
            raise BadInput(
                f"the speech model moves {z.shape[1]} parameters, the style has {len(self.mean)}; adapt again"
            )
        return np.asarray(np.asarray(self.mean) + np.asarray(self.scale) * z)


def speech_parameters(track: Track, count: int) -> NDArray[np.float64]:
    """(n, count) of a track: the jaw, then the first count - 1 expression components."""
    return np.column_stack([track.jaw, track.expression[:, : count - 1]])


def speech_statistics(
    values: NDArray[np.float64], speaking: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each column of `values` (n, m) over the frames `speaking` (n,)."""
    return values[speaking].mean(0), values[speaking].std(0)


def fit_style(track: Track, record: dict[str, Any] | None = None) -> SpeechStyle:
    """The style of a tracked actor, measured on the frames whose mouth is active, without an adapter.

    record: of the speech model; by default that of the shipped one. Mean and standard deviation are pulled
    towards the generic style (over the actor's own rest) as if that had been observed for GENERIC_SECONDS, so
    that one second of speech does not make a caricature. A track without usable frames gives the generic
    style over the neutral face. Raises `BadInput` for a track of a face model that the speech model was not
    made for.
    """
    record = record or model_record()
    if track.face_model != record["face_model"]:
        raise BadInput(
            f"{track.source} was tracked with {track.face_model}; the speech model moves"
            f" {record['face_model']}"
        )
    offset_from_rest = np.array(record["generic"]["offset_from_rest"])
    scale = np.array(record["generic"]["scale"])
    values = speech_parameters(track, len(scale))
    usable = track.usable & np.isfinite(values).all(1)
    speaking = usable & mouth_activity(track)
    seconds = float(speaking.sum() / track.rate)
    rest = rest_of(values[usable], tracked_opening(track)[usable]) if usable.any() else np.zeros(len(scale))
    mean = rest + offset_from_rest
    if speaking.any():
        actor_mean, actor_scale = speech_statistics(values, speaking)
        weight = seconds / (seconds + GENERIC_SECONDS)
        mean = weight * actor_mean + (1 - weight) * mean
        scale = np.sqrt(weight * actor_scale**2 + (1 - weight) * scale**2)
    return SpeechStyle(tuple(map(float, mean)), tuple(map(float, scale)), seconds, track.face_model)


def rest_of(values: NDArray[np.float64], opening: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) the mouth at rest: the median of `values` (n, m) over the tenth of the frames with the smallest
    `opening` (n,).
    """
    closed = np.argsort(opening, kind="stable")[: max(1, len(values) // 10)]
    return np.asarray(np.median(values[closed], axis=0))


def rest_pose(track: Track) -> tuple[float, NDArray[np.float64]]:
    """The actor's mouth at rest, lips closed: the jaw in radians and all expression components (K,).

    A track without usable frames rests as the neutral face does: zeros.
    """
    values = np.column_stack([track.jaw, track.expression])
    usable = track.usable & np.isfinite(values).all(1)
    if not usable.any():
        return 0.0, np.zeros(track.expression.shape[1])
    rest = rest_of(values[usable], tracked_opening(track)[usable])
    return float(rest[0]), rest[1:]
