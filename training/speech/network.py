"""The speech network, from input features to motion of the mouth and speech activity, and its export."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from visualdub.speech.features import FeatureKind
from visualdub.speech.predict import ONNX_OUTPUTS
from visualdub.storage import atomic_path

OPSET = 17


class Residual(nn.Module):
    """A residual block: layer norm, a convolution over five steps that are `dilation` apart, and a 1 x 1
    one.
    """

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T) -> (N, C, T)."""
        y = self.norm(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.mix(self.dropout(nn.functional.gelu(self.conv(y))))
        return out


class SpeechNet(nn.Module):
    """Features (N, T, width) at 50 Hz -> motion (N, T, outputs), logits of speech activity and of touching
    lips (N, T).

    Each of the `people` trained on has a style code, which accounts for that person's own way of speaking; a
    code of zeros is used for everybody else.
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
            self.motion.weight *= 0.3  # training starts near a still mouth
            self.style.weight *= 0.05

    def styles(self, person: Tensor, count: int, unstyled: float) -> Tensor:
        """(count, channels) style codes: of the speakers `person` (n,) for the first n windows, zeros for the
        others. In training a share `unstyled` of the first is zeros, too.
        """
        codes: Tensor = self.style(person)
        if self.training:
            codes = codes * (torch.rand(len(person), 1) >= unstyled)
        return torch.cat([codes, codes.new_zeros(count - len(codes), codes.shape[1])])

    def hidden(self, features: Tensor, style: Tensor | None = None) -> Tensor:
        """The hidden features (N, T, channels) that the last layers take, of features (N, T, width) and style
        codes (N, channels), if any.

        Raises `ValueError` for features of another shape.
        """
        if features.ndim != 3 or features.shape[2] != self.width:
            raise ValueError(
                f"features have the shape {tuple(features.shape)}; expected (N, T, {self.width})"
            )
        entered = self.enter(features) if style is None else self.enter(features) + style[:, None]
        hidden: Tensor = self.norm(self.blocks(entered.transpose(1, 2)).transpose(1, 2))
        return hidden

    def forward(self, features: Tensor, style: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Shapes as in the class; style: (N, channels), or None for zeros."""
        x = self.dropout(self.hidden(features, style))
        return self.motion(x), self.voice(x)[..., 0], self.contact(x)[..., 0]


class SpeechEnsemble(nn.Module):
    """The exported model: the mean of several networks, whose motion is multiplied by the matrix that undoes
    the shrinkage of regression.

    Lips touch where the networks say so and the mouth is nearly closed anyway: an open vowel beside a
    bilabial must not be closed.
    """

    gain: Tensor  # (outputs, outputs)
    apart: Tensor  # (outputs,) amount by which one unit of each parameter lowers the logit of touching lips

    def __init__(self, members: list[SpeechNet], gain: Tensor, apart: Tensor) -> None:
        """Shapes as of the attributes."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("gain", gain)
        self.register_buffer("apart", apart)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features (N, T, width) -> motion (N, T, outputs), speech activity and touching lips (N, T) in 0..1,
        hidden features (N, T, H) of all networks.
        """
        hidden = [member.hidden(features) for member in self.members]  # type: ignore[operator]

        def mean(layer: str) -> Tensor:
            return torch.stack(
                [getattr(m, layer)(h) for m, h in zip(self.members, hidden, strict=True)]
            ).mean(0)

        motion = mean("motion")
        contact = torch.sigmoid(mean("contact")[..., 0] - motion @ self.apart)
        return motion @ self.gain, torch.sigmoid(mean("voice"))[..., 0], contact, torch.cat(hidden, -1)


def export_onnx(model: SpeechEnsemble, path: Path, kind: FeatureKind, metadata: dict[str, str]) -> None:
    """Write the model as ONNX: input `features`, of `kind`, outputs named as in
    `ONNX_OUTPUTS`, batch and time dynamic."""
    import onnx

    model.eval()
    axes = {name: {0: "N", 1: "T"} for name in ("features", *ONNX_OUTPUTS.values())}
    with atomic_path(path) as temporary:
        torch.onnx.export(
            model,
            (torch.zeros(1, 200, kind.width),),
            str(temporary),
            input_names=["features"],
            output_names=list(ONNX_OUTPUTS.values()),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        proto = onnx.load(str(temporary))
        for key, value in {**metadata, "features": kind.name}.items():
            entry = proto.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.save(proto, str(temporary))
