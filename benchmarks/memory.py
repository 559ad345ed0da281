"""Peak memory of tracking, dubbing and evaluating ten minutes of 1080p, which must be that of ten seconds.

Every command runs in a process of its own, with a cache of its own that the first one fills.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from visualdub import log
from visualdub.demo.portrait import Portrait
from visualdub.demo.run import ENGLISH, counting_motion, portrait_picture
from visualdub.measure.reenact import ping_pong
from visualdub.measure.result import Finding, table, write_result
from visualdub.media.movie_writer import Codec, MovieWriter, picture_info, rgb_frame

RATE, LOOP = Fraction(25), 125  # frames per second; frames of the portrait that are repeated
WIDTH, HEIGHT = 1920, 1080
COMMANDS = ("track", "dub", "evaluate")
MOST_GROWTH, MOST_MIB = 1.1, 3000
RUN = """
import json, sys
from visualdub.cli import run
status = run(sys.argv[1:])
from visualdub.stages import peak_memory_mib
print(json.dumps({"status": status, "peak": peak_memory_mib()}))
"""


@dataclass(frozen=True)
class Inputs:
    """What the commands of one length work on, in a folder of their own."""

    folder: Path
    actor: Path
    seconds: int

    @property
    def clip(self) -> Path:
        return self.folder / "clip.mp4"

    @property
    def dialogue(self) -> Path:
        return self.folder / "dialogue.wav"

    def arguments(self, command: str) -> list[str]:
        """The command line of `vdub`; evaluated is the second half, so that the first can drive it."""
        count = self.seconds * int(RATE)
        return {
            "track": ["track", str(self.clip), "-o", str(self.folder / "track.npz")],
            "dub": [
                *("dub", str(self.clip), "--dialogue", str(self.dialogue), "--actor", str(self.actor)),
                *("-o", str(self.folder / "dub.mp4")),
            ],
            "evaluate": [
                *("evaluate", str(self.clip), "--actor", str(self.actor)),
                *("--frames", f"{count - count // 2}:{count}", "--json", str(self.folder / "measures.json")),
            ],
        }[command]


def loop_pictures() -> list[NDArray[np.uint8]]:
    """The counting portrait in `LOOP` pictures, 1080 lines high."""
    rgb = portrait_picture()
    size = (round(rgb.shape[1] * HEIGHT / rgb.shape[0]), HEIGHT)
    enlarged = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    return list(Portrait(enlarged, "portrait").frames(counting_motion(ENGLISH, RATE, LOOP)))


def make_clip(path: Path, seconds: int, pictures: list[NDArray[np.uint8]]) -> None:
    """Encode a 1920 x 1080 movie of so many seconds, in which `pictures` (H, W, 3) play ping-pong. One round
    is encoded, and its packets are repeated.
    """
    once = path.with_name("once.mp4")
    info = picture_info(once, WIDTH, HEIGHT, RATE, min(seconds * int(RATE), 2 * len(pictures)))
    left = (WIDTH - pictures[0].shape[1]) // 2
    with MovieWriter(once, info, Codec("h264", crf=20, preset="ultrafast"), None) as writer:
        for i, k in enumerate(ping_pong(len(pictures), info.frame_count)):
            wide = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
            wide[:, left : left + pictures[k].shape[1]] = pictures[k]
            writer.write(rgb_frame(wide, info.image, i))
    repeat_packets(once, path, seconds * int(RATE) // info.frame_count)


def repeat_packets(once: Path, path: Path, times: int) -> None:
    """Write the packets of the movie `once` so many times in a row, without encoding them again."""
    with av.open(str(path), "w") as output:
        for turn in range(times):
            with av.open(str(once)) as source:
                video = source.streams.video[0]
                stream = output.streams.video[0] if turn else output.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    shift = turn * int(video.duration or 0)
                    packet.pts, packet.dts = int(packet.pts or 0) + shift, packet.dts + shift
                    packet.stream = stream
                    output.mux(packet)


def make_dialogue(path: Path, seconds: int) -> None:
    """Write the demo's English counting, repeated to so many seconds."""
    with wave.open(str(ENGLISH)) as f:
        parameters, samples = f.getparams(), f.readframes(f.getnframes())
    length = seconds * parameters.framerate * parameters.sampwidth * parameters.nchannels
    with wave.open(str(path), "wb") as f:
        f.setparams(parameters)
        f.writeframes((samples * (length // len(samples) + 1))[:length])


def peak_of(arguments: list[str], cache: Path) -> float:
    """Peak MiB of resident memory of `vdub` in a process of its own. Exits where the command fails."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "VISUALDUB_CACHE": str(cache)},
    )
    result = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"status": done.returncode}
    if result["status"] != 0:
        raise SystemExit(f"vdub {' '.join(arguments)} failed:\n{done.stderr}")
    return float(result["peak"])


def write_json_result(path: Path, peaks: dict[str, list[float]], seconds: list[int]) -> None:
    """Write the peaks for docs/results.md. peaks: MiB of the short and of the long clip by command."""
    short, long = seconds
    text = [
        f"Most resident memory of each command on a 1080p clip of {short} s and of {long} s, a process for"
        f" each run. The ratio must be {MOST_GROWTH} or less, and no peak may reach {MOST_MIB} MiB.",
        table(
            ("command", f"{short} s, MiB", f"{long} s, MiB", "ratio"),
            [(c, f"{a:.0f}", f"{b:.0f}", f"{b / a:.3f}") for c, (a, b) in peaks.items()],
        ),
    ]
    worst = max(b / a for a, b in peaks.values())
    what = f"peak memory of {', '.join(peaks)} of {long} s of 1080p against {short} s"
    finding = Finding(what, f"ratio <= {MOST_GROWTH}, < 3 GB", f"worst ratio {worst:.2f}")
    figures = {f"{c}_{s}s_mib": v for c, pair in peaks.items() for s, v in zip(seconds, pair, strict=True)}
    write_result(path, "Memory", text, [finding], figures)


def main() -> None:
    """Print every peak and its growth; exit 1 where one grows by over 10 % or exceeds 3000 MiB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actor", type=Path, required=True, help="any actor package")
    parser.add_argument("--seconds", type=int, nargs=2, default=(10, 600), metavar=("A", "B"))
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
    arguments = parser.parse_args()
    log.setup(native=True)
    pictures = loop_pictures()
    peaks: dict[str, list[float]] = {command: [] for command in arguments.commands}
    for seconds in arguments.seconds:
        with tempfile.TemporaryDirectory() as name:
            inputs = Inputs(Path(name), arguments.actor.absolute(), seconds)
            make_clip(inputs.clip, seconds, pictures)
            make_dialogue(inputs.dialogue, seconds)
            for command in arguments.commands:
                peaks[command].append(peak_of(inputs.arguments(command), inputs.folder / "cache"))
                print(f"{command} of {seconds} s of 1080p: peak {peaks[command][-1]:.0f} MiB", flush=True)
    growth = {command: long / short for command, (short, long) in peaks.items()}
    for command, ratio in growth.items():
        print(f"{command}: ratio {ratio:.3f}")
    if arguments.json:
        write_json_result(arguments.json, peaks, arguments.seconds)
    highest = max(max(values) for values in peaks.values())
    raise SystemExit(0 if max(growth.values()) <= MOST_GROWTH and highest < MOST_MIB else 1)


if __name__ == "__main__":
    main()
