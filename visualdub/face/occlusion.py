"""What covers the lower face in the frames of a shot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from visualdub.errors import BadInput
from visualdub.face.hands import Hand

FORMAT = 1
HAND, OBJECT = 1, 2  # bits of `Occlusion.kind`
REASONS = {
    HAND: "a hand covers the mouth",
    OBJECT: "something covers the mouth",
    HAND | OBJECT: "a hand and something else cover the mouth",
}


@dataclass(frozen=True)
class Occlusion:
    """What covers the lower face in each of the n frames of a shot, counted from 0. F triangles."""

    kind: NDArray[np.uint8]  # (n,) 0 = nothing, or bits: HAND, OBJECT
    hand_frames: NDArray[np.int64]  # (h,) the frame that each hand is in, in order
    hands: NDArray[np.float32]  # (h, 21, 2) landmarks in the track's pixels
    object_frames: NDArray[np.int64]  # (m,) in order
    covered: NDArray[np.bool_]  # (m, F) of `FaceModel.face_triangles`, those that something covers

    def __len__(self) -> int:
        return len(self.kind)

    def hands_at(self, i: int) -> list[Hand]:
        """The hands in frame `i`."""
        first, last = np.searchsorted(self.hand_frames, [i, i + 1])
        return list(self.hands[first:last])

    def covered_at(self, i: int) -> NDArray[np.bool_] | None:
        """(F,) the triangles that something other than a hand covers in frame `i`; None where there is
        nothing.
        """
        at = int(np.searchsorted(self.object_frames, i))
        found = at < len(self.object_frames) and self.object_frames[at] == i
        return self.covered[at] if found else None

    def reasons(self) -> list[str | None]:
        """For each frame, what covers the mouth, in words; None where nothing does."""
        return [REASONS.get(int(kind)) for kind in self.kind]

    def write(self, file: BinaryIO) -> None:
        """Write as .npz into an open file."""
        np.savez_compressed(
            file,
            format=FORMAT,
            kind=self.kind,
            hand_frames=self.hand_frames,
            hands=self.hands,
            object_frames=self.object_frames,
            covered=self.covered,
        )

    @classmethod
    def read(cls, file: BinaryIO) -> Occlusion:
        """Read what `write` wrote. Raises `BadInput` for another format."""
        with np.load(file, allow_pickle=False) as z:
            if int(z["format"]) != FORMAT:
                raise BadInput(f"it is of format {int(z['format'])}; this version reads {FORMAT}")
            return cls(z["kind"], z["hand_frames"], z["hands"], z["object_frames"], z["covered"])
