"""The speech network: log-mel in, motion of the mouth, voice and phones out; and its export."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from visualdub.speech import features

OPSET = 17


class Residual(nn.Module):
    """Normalise each step over its channels, look at five steps `dilation` apart, add."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.look = nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, C, T)."""
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return x + self.mix(self.dropout(nn.functional.gelu(self.look(y))))


class SpeechNet(nn.Module):
    """(N, 2T, BANDS) normalised log-mel at 100 Hz -> motion (N, T, outputs), voice logits (N, T), phone logits (N, T, phones) at 50 Hz."""

    def __init__(self, outputs: int, phones: int, channels: int, dilations: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.enter = nn.Conv1d(features.BANDS, channels, 6, stride=2, padding=2)
        self.blocks = nn.Sequential(*(Residual(channels, d, dropout) for d in dilations))
        self.norm = nn.LayerNorm(channels)
        self.motion = nn.Linear(channels, outputs)
        self.voice = nn.Linear(channels, 1)
        self.phones = nn.Linear(channels, phones)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes above."""
        if mel.ndim != 3 or mel.shape[2] != features.BANDS:
            raise ValueError(f"mel has the shape {tuple(mel.shape)}; expected (N, T, {features.BANDS})")
        x = self.norm(self.blocks(self.enter(mel.transpose(1, 2))).transpose(1, 2))
        return self.motion(x), self.voice(x)[..., 0], self.phones(x)


class Spoken(nn.Module):
    """What is exported: the mean of several networks, motion times the gains that undo the regression's shrinking."""

    def __init__(self, members: list[SpeechNet], gain: Tensor) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("gain", gain)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 2T, BANDS) -> motion (N, T, outputs), voice (N, T) in 0..1."""
        found = [member(mel) for member in self.members]
        motion = torch.stack([m for m, _, _ in found]).mean(0) * self.gain
        return motion, torch.sigmoid(torch.stack([v for _, v, _ in found]).mean(0))


def export_onnx(model: Spoken, path: Path, metadata: dict[str, str]) -> None:
    """Write the model as ONNX: input `mel`, outputs `motion` and `voice`, batch and time dynamic."""
    import onnx

    model.eval()
    partial = path.with_name(path.name + ".partial")
    axes = {"mel": {0: "N", 1: "T2"}, "motion": {0: "N", 1: "T"}, "voice": {0: "N", 1: "T"}}
    torch.onnx.export(model, (torch.zeros(1, 400, features.BANDS),), str(partial), input_names=["mel"],
                      output_names=["motion", "voice"], dynamic_axes=axes, opset_version=OPSET, dynamo=False)
    proto = onnx.load(str(partial))
    for key, value in {**metadata, "features": features.NAME}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(proto, str(partial))
    partial.replace(path)
