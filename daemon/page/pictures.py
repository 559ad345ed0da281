"""Pictures and sound of a shot for a browser: plate beside dub, the mouth alone or the whole frame."""

from __future__ import annotations

import io
import threading
import wave
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.page.answers import Missing
from visualdub.media.audio import read_audio
from visualdub.media.source import open_source
from visualdub.media.yuv import frame_rgb
from visualdub.timing import FrameRange
from visualdub.wire.picture import FramePicture

CHUNK_BYTES = 48 << 20  # of decoded frames that are kept at a time; neighbours are decoded together
CHUNK_FRAMES = 12
CHUNKS = 2
WHOLE_WIDTH = 1280  # pixels of a whole frame, at most; the mouth is never reduced
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 93]
PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
SOUND_RATE = 48000
SOUND_S = 30.0  # of one piece of sound, at most
RECORDINGS = 2  # that are kept
PEAKS = 2  # of the waveform, a frame
Rgb = NDArray[np.uint8]

# ---- pictures ----------------------------------------------------------------------------------------------


class Plates:
    """Frames of clips as R'G'B', decoded a few at a time and kept for a while. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: OrderedDict[tuple[str, int, int], dict[int, Rgb]] = OrderedDict()

    def frame(self, clip: Path, number: int, end: int, pixels: int) -> Rgb:
        """Frame `number` of `clip`, (H, W, 3). end: of the shot, exclusive. pixels: of one frame.

        Raises `MediaError` where it cannot be decoded, `Missing` where the clip is gone.
        """
        step = int(np.clip(CHUNK_BYTES // max(1, pixels * 3), 1, CHUNK_FRAMES))
        start = number - number % step
        key = (str(clip), _changed_ns(clip), start)
        with self._lock:
            chunk = self._chunks.get(key)
            if chunk is None:
                wanted = FrameRange(start, min(start + step, max(end, number + 1)))
                with open_source(clip) as source:
                    chunk = {f.index: frame_rgb(f) for f in source.frames(wanted)}
                self._chunks[key] = chunk
            self._chunks.move_to_end(key)
            while len(self._chunks) > CHUNKS:
                self._chunks.popitem(last=False)
            if number not in chunk:
                raise Missing(f"{clip} has no frame {number}")
            return chunk[number]


def _changed_ns(path: Path) -> int:
    """When a file was last written."""
    try:
        return path.stat().st_mtime_ns
    except OSError as e:
        raise Missing(f"{path} is not there any more: {e.strerror or e}") from None


def side_by_side(plate: Rgb, patch: FramePicture, box: tuple[int, int, int, int] | None) -> tuple[bytes, str]:
    """An encoded picture, its left half the plate and its right half the dub, and its media type.

    patch: what the dub changes of the frame. box: left, top, right, bottom of what is shown, as it is,
    without loss; None: all of it, reduced to WHOLE_WIDTH.
    """
    dub = plate.copy()
    left, top, right, bottom = patch.box
    if right > left and bottom > top:
        shape, _, data = patch.planes[0]
        dub[top:bottom, left:right] = np.frombuffer(data, np.uint8).reshape(shape)
    if box is not None:
        left, top, right, bottom = box
        plate, dub = plate[top:bottom, left:right], dub[top:bottom, left:right]
    elif plate.shape[1] > WHOLE_WIDTH:
        size = (WHOLE_WIDTH, round(plate.shape[0] * WHOLE_WIDTH / plate.shape[1]))
        plate, dub = (
            np.asarray(cv2.resize(p, size, interpolation=cv2.INTER_AREA), np.uint8) for p in (plate, dub)
        )
    both = cv2.cvtColor(np.ascontiguousarray(np.concatenate([plate, dub], 1)), cv2.COLOR_RGB2BGR)
    kind, options = (".png", PNG) if box is not None else (".jpg", JPEG)
    _, encoded = cv2.imencode(kind, both, options)
    return encoded.tobytes(), "image/png" if box is not None else "image/jpeg"


# ---- sound -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """Mono samples (n,) at SOUND_RATE."""

    samples: NDArray[np.int16]

    def piece(self, start_s: float, length_s: float) -> NDArray[np.int16]:
        """`length_s` seconds from `start_s` on; silence before the beginning and after the end."""
        start, count = round(start_s * SOUND_RATE), max(1, round(length_s * SOUND_RATE))
        piece = np.zeros(count, np.int16)
        low, high = max(0, start), min(len(self.samples), start + count)
        if high > low:
            piece[low - start : high - start] = self.samples[low:high]
        return piece


class Recordings:
    """The sound of recordings and clips, read once and kept for a while. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, int], Recording] = OrderedDict()

    def of(self, path: Path) -> Recording:
        """Raises `AudioMissing` and `MediaError` as `read_audio` does, `Missing` where the file is gone."""
        key = (str(path), _changed_ns(path))
        with self._lock:
            if key not in self._known:
                samples = read_audio(path, SOUND_RATE)
                self._known[key] = Recording((np.clip(samples, -1, 1) * 32767).astype(np.int16))
            self._known.move_to_end(key)
            while len(self._known) > RECORDINGS:
                self._known.popitem(last=False)
            return self._known[key]


def wav(samples: NDArray[np.int16]) -> bytes:
    """A WAV file, mono at SOUND_RATE."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return target.getvalue()


def peaks(recording: Recording, start_s: float, times: list[float], rate: float) -> list[Any]:
    """PEAKS values from 0 to 1 for each frame: how loud the recording is while it is shown."""
    found = []
    for t in times:
        for part in range(PEAKS):
            piece = recording.piece(start_s + t + part / rate / PEAKS, 1 / rate / PEAKS)
            found.append(round(float(np.abs(piece.astype(np.float32)).max()) / 32768, 3))
    return found
