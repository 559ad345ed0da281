"""One sentence by libespeak-ng in a process of its own: a script that `training.speech.synthetic` runs, with
the standard library alone.

The library has one synthesiser per process, keeps state from one sentence to the next and can crash. With a
process for each sentence the audio depends on the sentence only, and a crash does not end the caller.

The script reads one JSON object {text, voice, variant, pitch, rate} from standard input. It writes one line
of JSON, {"rate": Hz, "markers": [[IPA name, sample], ...]}, followed by signed 16-bit little-endian samples;
or a line with `error` and nothing else.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARY = "libespeak-ng.so.1"
SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: no player, samples go to the callback before espeak_Synth returns
PHONEME_EVENTS, IPA_NAMES, DONT_EXIT = 1, 2, 1 << 15  # options of espeak_Initialize
LIST_END, PHONEME = 0, 7  # types of event
UTF8 = 1
RATE, PITCH = 1, 3  # parameters: words per minute; 0..100
NO_LIBRARY = "no library"


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_void_p), ("text", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h; a phoneme's name is cut to eight bytes there."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", _Name),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


def _collector(samples: bytearray, markers: list[tuple[str, int]]) -> Callable[[int | None, int, Any], int]:
    def receive(wave: int | None, count: int, events: Any) -> int:
        if wave and count > 0:
            samples.extend(ctypes.string_at(wave, 2 * count))
        i = 0
        while events[i].type != LIST_END:
            if events[i].type == PHONEME:
                markers.append((bytes(events[i].id.text).decode(errors="ignore"), int(events[i].sample)))
            i += 1
        return 0

    return receive


def synthesise(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The header and the samples of one sentence; where it fails, the header holds `error` alone."""
    try:
        espeak = ctypes.CDLL(LIBRARY)
    except OSError:
        return {"error": NO_LIBRARY}, b""
    rate = espeak.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | IPA_NAMES | DONT_EXIT)
    if rate <= 0:
        return {
            "error": f"{LIBRARY} does not start (status {rate}); expected its voices (package espeak-ng-data)"
        }, b""
    data = ctypes.c_char_p()
    espeak.espeak_Info.restype = ctypes.c_char_p
    espeak.espeak_Info(ctypes.byref(data))
    variant, voice = request["variant"], request["voice"]
    if variant and not Path((data.value or b"").decode(), "voices", "!v", variant).is_file():
        return {
            "error": f"espeak-ng has no variant {variant!r}; expected one of `espeak-ng --voices=variant`"
        }, b""
    if espeak.espeak_SetVoiceByName(f"{voice}+{variant}".rstrip("+").encode()) != 0:
        return {"error": f"espeak-ng has no voice {voice!r}; expected one of `espeak-ng --voices`"}, b""
    espeak.espeak_SetParameter(RATE, int(request["rate"]), 0)
    espeak.espeak_SetParameter(PITCH, int(request["pitch"]), 0)
    samples, markers = bytearray(), list[tuple[str, int]]()
    callback = _CALLBACK(_collector(samples, markers))
    espeak.espeak_SetSynthCallback(callback)
    text = request["text"].encode()
    status = espeak.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, UTF8, None, None)
    if status == 0:
        status = espeak.espeak_Synchronize()
    if status != 0:
        return {"error": f"espeak-ng cannot speak {request['text']!r} (status {status})"}, b""
    return {"rate": rate, "markers": markers}, bytes(samples)


def main() -> None:
    """Synthesise the request on standard input and write it to standard output."""
    header, samples = synthesise(json.loads(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + samples)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
