"""How many times faster than real time speech motion is predicted, and its features alone."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from visualdub.measure.result import Finding, write_result
from visualdub.media.audio import read_audio
from visualdub.speech.features import HOP, RATE, WHISPER, feature_count
from visualdub.speech.features.whisper import KEPT
from visualdub.speech.predict import predict_motion

SECONDS = 60  # the recording is repeated to this length


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of the second of two calls."""
    work()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> None:
    """`OMP_NUM_THREADS=1 python -m benchmarks.speech WAV`: seconds of audio for each second of processor
    time.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("recording", type=Path, metavar="WAV", help="speech")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    args = parser.parse_args()
    audio = np.resize(read_audio(args.recording, RATE), SECONDS * RATE)
    kind = WHISPER
    level = kind.level(audio)
    if level is None:
        raise SystemExit("the recording is silent; expected speech")
    count = feature_count(len(audio))
    features = SECONDS / cpu_seconds(
        lambda: [kind.features(audio, level, first, KEPT) for first in range(0, count, KEPT)]
    )
    whole = SECONDS / cpu_seconds(lambda: predict_motion(audio, Fraction(25), SECONDS * 25))
    step = HOP / RATE * 1000
    text = (
        f"{SECONDS} s of speech, a feature every {step:.0f} ms: the features alone take a second of processor"
        f" time for {features:.0f} s of audio; with level, network and performance it is {whole:.0f} s."
    )
    print(text)
    if args.json:
        what = "predicted speech motion, features included: seconds of audio a second of processor time"
        finding = Finding(what, "50", f"{whole:.0f} (the features alone {features:.0f})")
        figures = {"features_times_real_time": features, "whole_times_real_time": whole}
        write_result(args.json, "Speech motion", [text], [finding], figures)


if __name__ == "__main__":
    main()
