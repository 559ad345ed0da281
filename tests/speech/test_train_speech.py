"""The trainer's parts on a clip made here: one clock for sound and mouth, offsets found again, the exported
graph.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnxruntime
import pytest
from speech_scene import counting, scene_track

torch = pytest.importorskip("torch")

from training.experiments.speakers import folds_of  # noqa: E402
from training.speech.clips import (  # noqa: E402
    SpeechClip,
    SyntheticExample,
    audio_variant,
    band_limited,
    encode_example,
    non_speech_variants,
    trained_clips,
    with_reverberation,
)
from training.speech.measure import best_lag, lip_error, measure_clip  # noqa: E402
from training.speech.network import SpeechEnsemble, SpeechNet, export_onnx  # noqa: E402
from training.speech.stored_features import StoredFeatures  # noqa: E402
from training.speech.train import SpeechConfig, loss_of, main, opening_gain, train_member  # noqa: E402
from training.speech.windows import Mixture, Windows, lip_jacobian, lip_metric  # noqa: E402
from visualdub.errors import BadInput  # noqa: E402
from visualdub.face.landmarks import LIPS  # noqa: E402
from visualdub.face.models import DEFAULT_FACE_MODEL, face_model  # noqa: E402
from visualdub.speech import features  # noqa: E402
from visualdub.speech.features import WHISPER, FeatureKind, Level  # noqa: E402
from visualdub.speech.features.mel import relative_mel  # noqa: E402
from visualdub.speech.predict import ONNX_OUTPUTS, last_layer  # noqa: E402

MODEL = face_model(DEFAULT_FACE_MODEL)


@dataclass(frozen=True)
class LogMel(FeatureKind):
    """Cheap features for tests of what does not depend on their kind: log-mel, about -1..1."""

    def features(self, audio: np.ndarray, level: Level, first: int, count: int) -> np.ndarray:
        rows = relative_mel(audio, level, first, count) + 1
        return np.where(rows > 0, rows, 0.0).astype(np.float32)


MEL = LogMel("mel40", features.BANDS)


def scene_clip(
    opening: np.ndarray, offset: float = 0.0, speaker: str = "one", kind: FeatureKind = MEL
) -> SpeechClip:
    track = scene_track(opening)
    random = np.random.default_rng(1)
    values = np.column_stack([track.jaw, random.normal(0, 0.3, (len(opening), MODEL.n_speech))])
    values[5] = values[:5].mean(0)
    audio = counting()
    sound = audio_variant(audio, kind)
    return SpeechClip(
        f"{speaker}.mp4",
        speaker,
        track.rate,
        offset,
        True,
        audio,
        (sound,),
        track,
        values,
        track.usable,
        values.mean(0),
        values.std(0),
        np.zeros(values.shape[1]),
    )


def wave(n: int = 125) -> np.ndarray:
    return 0.2 + 0.1 * np.sin(np.arange(n) * 0.7) * np.sin(np.arange(n) * 0.11)


def test_a_late_picture_shows_earlier_sound() -> None:
    """Picture 80 ms late: frame 10 (400 ms) shows the sound of 320 ms, and the sound leads in with 80 ms of
    silence.
    """
    clip = scene_clip(wave(), 0.08)
    assert clip.times()[10] == pytest.approx(0.32)
    heard = encode_example(clip)
    assert heard.motion[16] == pytest.approx(clip.motion[10], abs=1e-5)
    aligned = clip.aligned_audio()
    assert (aligned[:1280] == 0).all() and (aligned[1280:] == clip.audio).all()
    early = clip.shifted(-0.08).aligned_audio()
    assert (early == clip.audio[1280:]).all()


def test_faster_speech_moves_the_mouth_faster() -> None:
    clip = scene_clip(wave())
    fast = encode_example(clip, audio_variant(clip.audio, MEL, 1.25))
    assert (
        len(fast.features) == features.feature_count(int(80000 / 1.25)) + 25
    )  # and half a second of silence
    assert (fast.voice[-25:] == 0).all() and (fast.weight[-25:] == 0).all() and fast.voice.mean() > 0.3
    assert fast.motion[8] == pytest.approx(clip.motion[5], abs=1e-5)  # frame 5, 200 ms, now at 160 ms


def test_unseen_frames_teach_nothing() -> None:
    clip = scene_clip(wave())
    usable = clip.usable.copy()
    usable[50:60] = False
    heard = encode_example(replace(clip, usable=usable))
    assert (heard.weight[99:120] == 0).all() and heard.weight[:99].all() and heard.weight[120:240].all()


@pytest.mark.slow
def test_noise_and_music_say_nothing() -> None:
    sounds = non_speech_variants(0, MEL)
    assert len(sounds) == 24 and all((s.voice == 0).all() and np.isfinite(s.features).all() for s in sounds)


def test_folds_keep_speakers_together_and_leave_unlisted_clips_out() -> None:
    clips = [scene_clip(wave(), speaker=s) for s in ("a", "b", "c", "d", "e", "a")]
    folds = folds_of([*clips, replace(scene_clip(wave(), speaker="z"), listed=False)], 4)
    owners = [s for f in folds for s in f]
    assert sorted(owners) == ["a", "b", "c", "d", "e"]


def test_only_the_opening_is_stretched() -> None:
    clip = scene_clip(wave())
    slope = lip_jacobian(MODEL, clip)[:, -1]
    matrix = opening_gain([clip], {clip.file: slope}, 2.0).numpy().astype(float)
    motion = clip.motion
    assert (motion @ matrix) @ slope == pytest.approx(2 * (motion @ slope), rel=1e-3, abs=1e-3)
    unrelated = np.eye(29) - np.outer(slope, slope) / (slope @ slope)
    other = motion @ unrelated
    np.testing.assert_allclose(other @ matrix, other, atol=1e-3)


def test_the_jacobian_is_the_meshes_slope() -> None:
    clip = scene_clip(wave())
    columns = lip_jacobian(MODEL, clip)
    assert columns.shape == (29, 3 * len(LIPS) + 1)
    assert columns[0, -1] > 0  # the jaw opens
    assert (clip.motion @ columns)[:, -1].std() == pytest.approx(1.0)


def test_measures_by_hand() -> None:
    real = np.zeros((2, len(LIPS), 3))
    found = real.copy()
    found[0, 0, 0], found[0, 1, 1], found[1, 2, 2] = 0.3, 0.4, 0.2
    assert lip_error(real, found) == pytest.approx((0.16 + 0.04) / 2)
    a = np.sin(np.arange(100) * 0.5)
    lag, score = best_lag(np.roll(a, 2)[5:95], a[5:95], 25.0)
    assert lag == pytest.approx(0.08) and score > 0.99


def test_a_perfect_and_a_still_mouth() -> None:
    clip = scene_clip(wave())
    perfect, _, _ = measure_clip(clip, clip.values, MODEL)
    assert (
        perfect.correlation == pytest.approx(1)
        and perfect.lip_error == 0
        and perfect.deviation_ratio == pytest.approx(1)
    )
    nearly = clip.values.mean(0) + 1e-3 * (clip.values - clip.values.mean(0))
    assert measure_clip(clip, nearly, MODEL)[0].lip_error == pytest.approx(1, abs=0.01)


def test_the_export_equals_the_networks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    members = [SpeechNet(WHISPER.width, 5, 16, (1, 2), 0.3, 3).eval() for _ in range(2)]
    model = SpeechEnsemble(members, torch.eye(5) * 2, torch.linspace(-1, 1, 5)).eval()
    export_onnx(model, tmp_path / "m.onnx", WHISPER, {"face_model": "x"})
    heard = torch.randn(2, 123, WHISPER.width)
    with torch.no_grad():
        expected = model(heard)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(list(ONNX_OUTPUTS.values()), {"features": heard.numpy()})
    assert [f.shape[-1] for f in found] == [5, 123, 123, 32]
    layer = last_layer(tmp_path / "m.onnx")
    np.testing.assert_allclose(found[3] @ layer[:-1] + layer[-1], found[0], atol=1e-4)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(a.numpy(), b, atol=2e-5)
    assert session.get_modelmeta().custom_metadata_map == {"face_model": "x", "features": WHISPER.name}
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_style_code_is_one_persons_and_strangers_have_none() -> None:
    net = SpeechNet(MEL.width, 5, 16, (1,), 0.0, 3)
    person = torch.tensor([2, 0, 2])
    codes = net.eval().styles(person, 5, 0.5)
    assert torch.equal(codes[:3], net.style.weight[person]) and (codes[3:] == 0).all()
    heard = torch.randn(5, 40, MEL.width)
    with torch.no_grad():
        styled, plain = net.hidden(heard, codes), net.hidden(heard)
    assert torch.equal(styled[3:], plain[3:]) and not torch.allclose(styled[:3], plain[:3])
    bare = net.train().styles(torch.zeros(2000, dtype=torch.long), 2000, 0.5).abs().sum(1) == 0
    assert 0.4 < float(bare.float().mean()) < 0.6


def test_an_open_mouth_is_not_shut() -> None:
    """A deviation of opening takes its share off the logit of touching lips; the motion itself is the
    same.
    """
    torch.manual_seed(0)
    members, apart = (
        [SpeechNet(MEL.width, 5, 16, (1,), 0.0, 1).eval()],
        torch.tensor([0.5, 0.0, 1.0, 0.0, -0.2]),
    )
    heard = torch.randn(1, 50, MEL.width)
    with torch.no_grad():
        motion, _, free, _ = SpeechEnsemble(members, torch.eye(5), torch.zeros(5))(heard)
        same, _, held, _ = SpeechEnsemble(members, torch.eye(5), apart)(heard)
    assert torch.equal(motion, same)
    torch.testing.assert_close(torch.logit(free) - torch.logit(held), motion @ apart, atol=1e-4, rtol=1e-4)


PLAIN = Mixture(clips=4, synthetic=0, english=0, length=60, non_speech=0.0, degraded=0.0, noise=0.0)


@pytest.mark.slow
def test_training_learns_a_clip() -> None:
    clip = scene_clip(wave(), kind=WHISPER)
    losses: list[float] = []
    config = SpeechConfig(16, (1,), dropout=0.0, steps=100, mixture=PLAIN, rate=1e-2)
    train_member([clip], MODEL, config, [], lambda step, loss: losses.append(loss))
    assert len(losses) == 100 and np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def synthetic(n: int = 90) -> SyntheticExample:
    contact = np.zeros(n, np.float32)
    contact[30:36] = 1
    return SyntheticExample(
        np.random.default_rng(0).normal(0, 1, (n, MEL.width)).astype(np.float32),
        np.sin(np.arange(n)).astype(np.float32),
        contact,
    )


@pytest.mark.slow
def test_touching_lips_are_learned_from_synthetic_speech() -> None:
    config = SpeechConfig(16, (1,), dropout=0.0, steps=120, rate=1e-2, mixture=replace(PLAIN, synthetic=4))
    said = synthetic()
    net = train_member([scene_clip(wave())], MODEL, config, [said], kind=MEL)
    with torch.no_grad():
        contact = torch.sigmoid(net(torch.from_numpy(said.features)[None])[2])[0].numpy()
    assert contact[31:35].min() > 0.5 and np.median(contact[said.contact == 0]) < 0.1


@pytest.mark.slow
def test_a_batch_has_the_shapes_it_says_and_the_loss_counts_what_is_known() -> None:
    config = SpeechConfig(
        8,
        (1,),
        mixture=replace(PLAIN, synthetic=2, non_speech=0.2, degraded=0.3, noise=0.1),
    )
    clip = scene_clip(wave())
    windows = Windows([clip], MODEL, MEL, config.mixture, 0, [synthetic()])
    batch, m = windows.batch(), len(clip.scale)
    shapes = {k: tuple(v.shape) for k, v in batch.items()}
    assert shapes == {
        "features": (6, 60, MEL.width),
        "motion": (4, 60, m),
        "weight": (4, 60),
        "voice": (4, 60),
        "contact": (4, 60),
        "contact_known": (4, 60),
        "metric": (4, m, m),
        "slope": (4, m),
        "person": (4,),
        "synthetic_opening": (2, 60),
        "synthetic_contact": (2, 60),
        "synthetic_known": (2, 60),
        "opening_known": (2, 60),
        "generic_slope": (m,),
    }
    net = SpeechNet(MEL.width, m, 8, (1,), 0.0, 1).eval()
    with torch.no_grad():
        whole = float(loss_of(net, batch, config))
        unknown = batch["weight"] == 0
        batch["motion"][unknown] = 1e3  # nobody knows the mouth there: it must not count
        assert float(loss_of(net, batch, config)) == pytest.approx(whole)


def test_an_opening_that_is_not_a_target_does_not_count() -> None:
    config = SpeechConfig(8, (1,), mixture=replace(PLAIN, synthetic=2, english=2))
    clip = scene_clip(wave())
    net = SpeechNet(MEL.width, len(clip.scale), 8, (1,), 0.0, 1).eval()
    losses = []
    for trained, height in ((True, 1.0), (True, 5.0), (False, 1.0), (False, 5.0)):
        said = replace(synthetic(), opening_trained=trained, opening=np.full(90, height, np.float32))
        batch = Windows([clip], MODEL, MEL, config.mixture, 0, [said]).batch()
        with torch.no_grad():
            losses.append(float(loss_of(net, batch, config)))
    assert losses[0] < losses[1] and losses[2] == losses[3] < losses[0]


def test_the_metric_measures_what_the_lips_vertices_do() -> None:
    jacobian = lip_jacobian(MODEL, scene_clip(wave()))
    error = np.random.default_rng(0).normal(size=29)
    assert np.linalg.norm(error @ lip_metric(jacobian)) == pytest.approx(
        np.linalg.norm(error @ jacobian[:, :-1]), rel=1e-3
    )


def test_rooms_ring_and_lines_are_narrow() -> None:
    random, click = np.random.default_rng(0), np.zeros(16000, np.float32)
    click[1000] = 1
    room = with_reverberation(click, random)
    assert room[1000] == pytest.approx(1, abs=1e-3) and (np.abs(room[:1000]) < 1e-6).all()
    assert np.abs(room[1001:3000]).max() > 1e-3
    spectrum = np.abs(np.fft.rfft(band_limited(click, random)))  # 1 Hz a bin
    assert spectrum[1000] > 0.9 and spectrum[7000] < 0.1 and spectrum[20] < 0.1


@pytest.mark.slow
def test_training_is_the_same_twice() -> None:
    clip = scene_clip(wave())
    config = SpeechConfig(channels=8, dilations=(1,), steps=2, mixture=replace(PLAIN, clips=2, length=40))
    a, b = (train_member([clip], MODEL, config, [], kind=MEL).state_dict() for _ in range(2))
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_stored_features_are_the_features_and_are_computed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio, stored = counting(), StoredFeatures.of(MEL, tmp_path / "features")
    level = MEL.level(audio)
    assert level is not None and (stored.name, stored.width) == (MEL.name, MEL.width)
    rows = MEL.features(audio, level, 10, 40)
    np.testing.assert_allclose(stored.features(audio, level, 10, 40), rows, atol=1e-3)

    def computed(*_: object) -> NoReturn:
        raise AssertionError("computed again")

    monkeypatch.setattr(LogMel, "features", computed)
    np.testing.assert_allclose(stored.features(audio, level, 10, 40), rows, atol=1e-3)
    for other in (
        (audio, level, 11, 40),
        (audio, replace(level, gain=2.0), 10, 40),
        (audio[1:], level, 10, 40),
    ):
        with pytest.raises(AssertionError, match="computed again"):
            stored.features(*other)


def test_clips_to_be_measured_only_are_not_trained_on(tmp_path: Path) -> None:
    entries = [{"file": "a.mp4", "rights": "for measuring only"}, {"file": "b.mp4", "rights": "CC BY 4.0"}]
    (tmp_path / "clips.json").write_text(json.dumps([*entries, {"file": "c.mp4"}]))
    assert [e["file"] for e in trained_clips(tmp_path)] == ["b.mp4", "c.mp4"]
    (tmp_path / "clips.json").write_text('{"a.mp4": 1}')
    with pytest.raises(BadInput, match=r"clips\.json cannot be read .*expected a list of clips"):
        trained_clips(tmp_path)


def test_a_folder_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"clips\.json"):
        main(tmp_path, tmp_path / "m.onnx")
