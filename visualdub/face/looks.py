"""What somebody looks like in a picture or a clip."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from visualdub.errors import BadInput, NoFace
from visualdub.face.appearance import joined_likeness
from visualdub.face.people import find_people
from visualdub.face.seen import Likeness
from visualdub.face.tracker import cached_track
from visualdub.media.source import probe

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")
LARGEST = 2048  # pixels of the longer side of a picture in which a face is looked for


def likeness_in(path: Path) -> Likeness:
    """The likeness of the one person in a picture or a clip.

    Raises `NoFace` where nobody is seen, `BadInput` where several people are, or it cannot be read.
    """
    if path.suffix.lower() not in PICTURES:
        probe(path)
        faces = cached_track(path)[0].faces
    else:
        faces = find_people([_picture(path)]).faces
        if not faces:
            raise NoFace(f"{path}: no face; expected a picture of one person")
    if (count := len({face.person for face in faces})) > 1:
        raise BadInput(f"{path} shows {count} people; expected one")
    return joined_likeness([face.likeness for face in faces])


def _picture(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W, 3) R'G'B', no larger than is needed. Raises `BadInput` for a file that is no picture."""
    try:
        coded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as e:
        raise BadInput(f"{path} cannot be read ({e.strerror}); expected a picture") from None
    bgr = cv2.imdecode(coded, cv2.IMREAD_COLOR) if len(coded) else None
    if bgr is None:
        raise BadInput(f"{path} is no picture that can be read")
    shrink = LARGEST / max(bgr.shape[:2])
    if shrink < 1:
        bgr = cv2.resize(bgr, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(bgr[..., ::-1], np.uint8)
