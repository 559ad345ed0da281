"""Phone scores: the Gaussians by hand, PocketSphinx's own scores, the phones of a known vowel."""

import shutil
from pathlib import Path

import numpy as np
import pocketsphinx
from numpy.typing import NDArray
from speech_scene import counting

from visualdub.speech.features import pocketsphinx as phones
from visualdub.speech.features.pocketsphinx import acoustic_model


def test_phone_scores_are_those_of_the_gaussians() -> None:
    """One frame, by hand: every phone's best state, three streams, mixtures of Gaussians."""
    model = acoustic_model()
    assert model.phones[2:5] == ("AA", "AE", "AH") and len(model.phones) == 42
    audio = counting()
    mean = phones.cepstra(audio, 0, 500).mean(0)
    c = phones.cepstra(audio, 97, 7) - mean
    streams = [c[3], c[5] - c[1], (c[6] - c[2]) - (c[4] - c[0])]
    total = np.zeros((42, 3))
    for x, quadratic, weights in zip(streams, model.quadratic, model.weights, strict=True):
        density = np.exp((np.concatenate([x * x, x, [1]]).astype(np.float64) @ quadratic).reshape(42, -1))
        total += np.log(np.einsum("pg,pgs->ps", density, weights))
    score = total.max(1) * phones.SCALE
    expected = score - score.max() - np.log(np.exp(score - score.max()).sum())
    np.testing.assert_allclose(
        phones.phone_scores(audio, 100, 1, mean, model)[0], np.maximum(expected, phones.FLOOR), atol=2e-3
    )


def test_a_synthetic_vowel_is_heard_as_one() -> None:
    """A buzz through the two formants of /a/ (730 and 1090 Hz) is more a vowel than a stop or a hiss."""
    model = acoustic_model()
    time = np.arange(16000) / 16000
    harmonics = np.arange(1, 50) * 110.0
    gain = 1 / (1 + ((harmonics - 730) / 90) ** 2) + 1 / (1 + ((harmonics - 1090) / 110) ** 2) + 0.003
    buzz = (np.sin(2 * np.pi * time[:, None] * harmonics) * gain).sum(1).astype(np.float32)
    audio = np.concatenate(
        [np.zeros(8000, np.float32), buzz / np.abs(buzz).max() * 0.5, np.zeros(8000, np.float32)]
    )
    scores = np.exp(phones.phone_scores(audio, 60, 20, phones.cepstra(audio, 0, 200).mean(0), model)).mean(0)
    chance = dict(zip(model.phones, scores, strict=True))
    assert chance["AA"] + chance["AO"] + chance["AH"] + chance["AW"] > 5 * (
        chance["S"] + chance["T"] + chance["P"] + chance["F"]
    )


def test_the_mixture_weights_of_every_state_sum_to_one() -> None:
    """In steps of a tenth of a neper, so to about 0.95; read out of step they scatter by a quarter."""
    sums = np.stack([w.sum(1) for w in acoustic_model().weights])
    assert sums.min() > 0.93 and sums.max() < 0.97


def senone_scores(audio: NDArray[np.float32], folder: Path) -> NDArray[np.float64]:
    """(frames, P, 3) log likelihoods that PocketSphinx gives the states, up to a constant per frame; 100
    frames a second.

    Its noise removal, which depends on all that was heard before, is turned off.
    """
    shipped = Path(pocketsphinx.get_model_path()) / "en-us"
    model = Path(shutil.copytree(shipped / "en-us", folder / "model"))
    settings = model / "feat.params"
    settings.write_text(settings.read_text().replace("-remove_noise yes", "-remove_noise no"))
    (folder / "scores").mkdir()
    decoder = pocketsphinx.Decoder(
        pocketsphinx.Config(
            hmm=str(model),
            allphone=str(shipped / "en-us-phone.lm.bin"),
            lm=None,
            dict=None,
            compallsen=True,
            loglevel="FATAL",
            senlogdir=str(folder / "scores"),
        )
    )
    decoder.start_utt()
    decoder.process_raw((audio * 32767).astype("<i2").tobytes(), False, True)
    decoder.end_utt()
    raw = next((folder / "scores").iterdir()).read_bytes()
    start = raw.index(b"endhdr\n") + len(b"endhdr\n") + 4
    senones = int(np.frombuffer(raw, "<i2", 1, start)[0])  # every frame begins with their number
    scores = np.frombuffer(raw, "<i2", offset=start).reshape(-1, senones + 1)[:, 1:]
    return -scores[:, :126].astype(np.float64).reshape(-1, 42, 3)


def test_the_best_phone_is_pocketsphinxs(tmp_path: Path) -> None:
    """Where there is sound. Measured: 91 of 100 frames; in ten real recordings 87 to 92."""
    audio = counting()[:48000]
    theirs = senone_scores(audio, tmp_path).max(2).argmax(1)
    from_their_first_centre = audio[phones.WINDOW // 2 :]
    cepstra = phones.cepstra(from_their_first_centre, 0, len(theirs))
    sounding = cepstra[:, 0] > 0
    mean = cepstra[sounding].mean(0)
    ours = phones.phone_likelihoods(from_their_first_centre, 0, len(theirs), mean, acoustic_model(), 1)
    assert (ours.argmax(1) == theirs)[sounding].mean() > 0.85
