"""wav2vec2 features by a small random network of the same architecture: cuts, names, wrong folders, and a
speech model that takes them.
"""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from speech_scene import counting

from visualdub.errors import BadInput
from visualdub.speech.features import feature_kind
from visualdub.speech.predict import MODEL, predict_motion

torch = pytest.importorskip(
    "torch", reason="wav2vec2 is exported by torch, which is not installed (extra: wav2vec2)"
)
pytest.importorskip(
    "transformers", reason="wav2vec2 comes from transformers, which is not installed (extra: wav2vec2)"
)

from exporters.wav2vec2 import export_wav2vec2  # noqa: E402
from visualdub.speech.features.wav2vec2 import BLOCK, FOLDER, NETWORK, Wav2Vec2, open_wav2vec2  # noqa: E402

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def write_network(folder: Path, seed: int = 0, **changes: object) -> Path:
    """A random network, as transformers saves one."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(seed)
    Wav2Vec2Model(Wav2Vec2Config(**{**SMALL, **changes})).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = write_network(tmp_path_factory.mktemp("weights") / "small")
    assert export_wav2vec2(weights) == weights / NETWORK
    return weights


def made(kind: Wav2Vec2, audio: np.ndarray, first: int, count: int) -> np.ndarray:
    level = kind.level(audio)
    assert level is not None
    return kind.features(audio, level, first, count)


def test_features_equal_the_networks_own(folder: Path) -> None:
    """Feature k depends on the 400 samples around sample 320 k: against transformers, laid out by hand."""
    from transformers import Wav2Vec2Model

    audio, kind = counting(), open_wav2vec2(folder)
    reference = Wav2Vec2Model.from_pretrained(folder, local_files_only=True).eval()
    normalised = (audio - audio.mean()) / audio.std()
    block = np.concatenate(
        [np.zeros(75 * 320 + 200), normalised, np.zeros((450 * 320 + 80) - 75 * 320 - 200 - len(audio))]
    )
    with torch.no_grad():
        states = reference(
            torch.tensor(block[None], dtype=torch.float32), output_hidden_states=True
        ).hidden_states[2][0]
    assert states.shape == (450, 24)  # layer 2 of 3
    expected = (states - states.mean(1, keepdim=True)) / states.std(1, correction=0, keepdim=True)
    np.testing.assert_allclose(made(kind, audio, 0, 300), expected[75:375].numpy(), atol=2e-3)


def test_features_do_not_depend_on_the_cut(folder: Path) -> None:
    audio, kind = np.tile(counting(), 3), open_wav2vec2(folder)
    whole = made(kind, audio, -70, 800)
    assert whole.shape == (800, 24) and whole.dtype == np.float32 and np.isfinite(whole).all()
    for first, count in ((-70, 1), (0, 31), (BLOCK - 5, 10), (500, 230)):
        np.testing.assert_array_equal(made(kind, audio, first, count), whole[first + 70 : first + 70 + count])


def test_gain_does_not_matter(folder: Path) -> None:
    audio, kind = counting(), open_wav2vec2(folder)
    np.testing.assert_allclose(
        made(kind, audio * np.float32(0.1), 20, 100), made(kind, audio, 20, 100), atol=5e-3
    )


@pytest.mark.slow
def test_the_name_tells_the_weights(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = open_wav2vec2(folder)
    assert kind.name.startswith("wav2vec2-layer2x24-") and kind.width == 24
    monkeypatch.setenv(FOLDER, str(folder))
    assert feature_kind("wav2vec2").name == feature_kind(kind.name).name == kind.name
    other = write_network(tmp_path / "other", seed=1)
    export_wav2vec2(other)
    assert feature_kind("wav2vec2", other).name != kind.name
    with pytest.raises(
        BadInput, match=rf"takes {kind.name}; the weights in .*other make wav2vec2-layer2x24-"
    ):
        feature_kind(kind.name, other)


def test_missing_and_foreign_folders_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    with pytest.raises(BadInput, match=f"set {FOLDER} to a folder"):
        feature_kind("wav2vec2")
    with pytest.raises(
        BadInput, match=r"nowhere.wav2vec2\.onnx cannot be read .*python -m exporters\.wav2vec2"
    ):
        feature_kind("wav2vec2", tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"no config\.json"):
        export_wav2vec2(tmp_path / "nowhere")
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(BadInput, match="cannot be read as wav2vec2 weights"):
        export_wav2vec2(copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(BadInput, match=r"no model\.safetensors"):
        export_wav2vec2(copy)
    (copy / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    with pytest.raises(BadInput, match="lacks what one has"):
        export_wav2vec2(copy)
    (copy / "config.json").write_text("not JSON")
    with pytest.raises(BadInput, match="not a folder of wav2vec2 weights"):
        export_wav2vec2(copy)


def test_another_file_is_refused_as_network(tmp_path: Path) -> None:
    (tmp_path / NETWORK).write_text("hello\n")
    with pytest.raises(BadInput, match="is not a wav2vec2 network"):
        open_wav2vec2(tmp_path)
    shutil.copy(MODEL, tmp_path / NETWORK)
    with pytest.raises(BadInput, match=r"expected a network that this version's exporters\.wav2vec2 wrote"):
        open_wav2vec2(tmp_path)


def test_another_architecture_is_refused(folder: Path, tmp_path: Path) -> None:
    slow = write_network(tmp_path / "slow", conv_stride=(5, 2, 2, 2, 2, 2, 1))
    with pytest.raises(BadInput, match="a feature every 160 samples"):
        export_wav2vec2(slow)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "preprocessor_config.json").write_text(json.dumps({"sampling_rate": 8000}))
    with pytest.raises(BadInput, match="8000 Hz; expected 16000"):
        export_wav2vec2(copy)
    shutil.copy(write_network(tmp_path / "wide", hidden_size=32) / "config.json", copy / "config.json")
    (copy / "preprocessor_config.json").unlink()
    with pytest.raises(BadInput, match="cannot be read as wav2vec2 weights"):
        export_wav2vec2(copy)
    few = write_network(tmp_path / "few", num_hidden_layers=1)
    shutil.copy(folder / "config.json", few / "config.json")
    with pytest.raises(BadInput, match=r"lacks .* weights of a wav2vec2 network"):
        export_wav2vec2(few)


def test_a_speech_model_that_takes_them_speaks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.speech.network import SpeechEnsemble, SpeechNet, export_onnx

    kind, path = open_wav2vec2(folder), tmp_path / "speech.onnx"
    net = SpeechNet(kind.width, 5, 8, (1,), 0.0, 1).eval()
    export_onnx(SpeechEnsemble([net], torch.eye(5), torch.zeros(5)), path, kind, {})
    monkeypatch.setenv(FOLDER, str(tmp_path / "nowhere"))
    with pytest.raises(BadInput, match=r"speech\.onnx cannot be used: .*nowhere"):
        predict_motion(counting(), Fraction(25), 50, path)
    monkeypatch.setenv(FOLDER, str(folder))
    motion = predict_motion(counting(), Fraction(25), 50, path)
    assert motion.expression.shape == (50, 4) and motion.jaw.std() > 0
