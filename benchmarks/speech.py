"""How many times faster than real time the mouth is predicted on one core: features alone, and with the
network.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from visualdub.media.audio import read_audio
from visualdub.speech.features import HOP, RATE, feature_count, feature_kind
from visualdub.speech.predict import predict_motion

SECONDS = 60  # the recording is repeated to this length


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of the second of two calls."""
    work()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    """`OMP_NUM_THREADS=1 python -m benchmarks.speech WAV`: seconds of sound for each second of processor
    time.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("recording", type=Path, metavar="WAV", help="speech")
    audio = np.resize(read_audio(parser.parse_args().recording, RATE), SECONDS * RATE)
    kind = feature_kind("both")
    level = kind.level(audio)
    if level is None:
        raise SystemExit("the recording is silent; expected speech")
    count = feature_count(len(audio))
    features = cpu_seconds(
        lambda: [kind.features(audio, level, first, 1000) for first in range(0, count, 1000)]
    )
    whole = cpu_seconds(lambda: predict_motion(audio, Fraction(25), SECONDS * 25))
    print(
        f"{SECONDS} s of sound, {HOP / RATE * 1000:.0f} ms a feature: features alone {SECONDS / features:.0f}"
        f" times real time, with level, network and curves {SECONDS / whole:.0f} times"
    )


if __name__ == "__main__":
    main()
