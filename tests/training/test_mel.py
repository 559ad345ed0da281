"""Spectrograms of the audio code."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from training.data.mel import RATE, audio_code_filters, frame_mels


def test_a_tone_lands_in_its_band_and_silence_is_zero() -> None:
    time = np.arange(RATE) / RATE
    audio = np.sin(2 * np.pi * 1000 * time).astype(np.float32)
    audio[RATE // 2 :] = 0
    mel = frame_mels(audio, Fraction(25), 0, 25)
    band = int(audio_code_filters()[:, 50].argmax())  # bin 50 of 800 at 16 kHz is 1000 Hz
    assert mel.shape == (25, 80, 16)
    assert abs(int(mel[6].mean(1).argmax()) - band) <= 1 and mel[6, band].min() > 0.6
    assert np.abs(mel[20]).max() < 1e-6


def test_the_first_frame_is_centred_on_half_a_frame() -> None:
    """A click at sample 320, the middle of frame 0 at 25 frames/s, lies between columns 7 and 8 of frame
    0.
    """
    audio = np.zeros(RATE, np.float32)
    audio[320] = 1
    loud = frame_mels(audio, Fraction(25), 0, 1)[0].mean(0)
    assert np.allclose(loud, loud[::-1], atol=0.05) and loud[7] > loud[3] + 0.1
