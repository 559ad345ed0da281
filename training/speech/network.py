"""The speech network: features of sound in, motion of the mouth and voice out; and its export."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from visualdub.speech.features import FeatureKind
from visualdub.speech.predict import ONNX_OUTPUTS

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
        out: Tensor = x + self.mix(self.dropout(nn.functional.gelu(self.look(y))))
        return out


class SpeechNet(nn.Module):
    """(N, T, width) features at 50 Hz -> motion (N, T, outputs), logits of voice and of touching lips (N, T).

    Each of `people` trained on has a style code, which takes up what is that person's own; zeros are how
    strangers speak.
    """

    def __init__(
        self, width: int, outputs: int, channels: int, dilations: tuple[int, ...], dropout: float, people: int
    ) -> None:
        super().__init__()
        self.width = width
        self.style = nn.Embedding(people, channels)
        self.enter = nn.Sequential(nn.Dropout(dropout / 3), nn.Linear(width, channels))
        self.blocks = nn.Sequential(*(Residual(channels, d, dropout) for d in dilations))
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.motion = nn.Linear(channels, outputs)
        self.voice = nn.Linear(channels, 1)
        self.contact = nn.Linear(channels, 1)
        with torch.no_grad():
            self.motion.weight *= 0.3  # starts near a still mouth
            self.style.weight *= 0.05

    def styles(self, person: Tensor, count: int, unstyled: float) -> Tensor:
        """(count, channels) codes: of the first windows those of their speakers `person` (n,), of the others
        zeros. In training a share `unstyled` of the first is zeros too.
        """
        codes: Tensor = self.style(person)
        if self.training:
            codes = codes * (torch.rand(len(person), 1) >= unstyled)
        return torch.cat([codes, codes.new_zeros(count - len(codes), codes.shape[1])])

    def hidden(self, heard: Tensor, style: Tensor | None = None) -> Tensor:
        """(N, T, width), style codes (N, channels) or none -> (N, T, channels), what the last layers read."""
        if heard.ndim != 3 or heard.shape[2] != self.width:
            raise ValueError(f"features have the shape {tuple(heard.shape)}; expected (N, T, {self.width})")
        entered = self.enter(heard) if style is None else self.enter(heard) + style[:, None]
        found: Tensor = self.norm(self.blocks(entered.transpose(1, 2)).transpose(1, 2))
        return found

    def forward(self, heard: Tensor, style: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes above."""
        x = self.dropout(self.hidden(heard, style))
        return self.motion(x), self.voice(x)[..., 0], self.contact(x)[..., 0]


class Spoken(nn.Module):
    """What is exported: the mean of several networks, motion through the matrix that undoes the regression's
    shrinking.

    Lips touch where the networks say so and the mouth is low anyway: a vowel heard in passing must not be
    shut.
    """

    gain: Tensor  # (outputs, outputs)
    apart: Tensor  # (outputs,) what one unit of each parameter takes off the logit of touching lips

    def __init__(self, members: list[SpeechNet], gain: Tensor, apart: Tensor) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("gain", gain)
        self.register_buffer("apart", apart)

    def forward(self, heard: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, T, width) -> motion (N, T, outputs), voice and contact (N, T) in 0..1, hidden (N, T, H) of all
        networks.
        """
        hidden = [member.hidden(heard) for member in self.members]  # type: ignore[operator]

        def mean(layer: str) -> Tensor:
            return torch.stack(
                [getattr(m, layer)(h) for m, h in zip(self.members, hidden, strict=True)]
            ).mean(0)

        motion = mean("motion")
        contact = torch.sigmoid(mean("contact")[..., 0] - motion @ self.apart)
        return motion @ self.gain, torch.sigmoid(mean("voice"))[..., 0], contact, torch.cat(hidden, -1)


def export_onnx(model: Spoken, path: Path, kind: FeatureKind, metadata: dict[str, str]) -> None:
    """Write the model as ONNX: input `features`, of `kind`, outputs named as in
    `ONNX_OUTPUTS`, batch and time dynamic."""
    import onnx

    model.eval()
    partial = path.with_name(path.name + ".partial")
    axes = {name: {0: "N", 1: "T"} for name in ("features", *ONNX_OUTPUTS.values())}
    torch.onnx.export(
        model,
        (torch.zeros(1, 200, kind.width),),
        str(partial),
        input_names=["features"],
        output_names=list(ONNX_OUTPUTS.values()),
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    proto = onnx.load(str(partial))
    for key, value in {**metadata, "features": kind.name}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(proto, str(partial))
    partial.replace(path)
