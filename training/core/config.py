"""One plain configuration per stage of training, checked before any work."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from visualdub.errors import BadInput
from visualdub.storage import write_text

WIDTHS = {"small": 0.25, "full": 1.0}  # names of DESIGN.md 2.3
PAPER_PERCEPTUAL = (
    6.0  # the paper's 10 is of a loss that is not divided by its features' magnitude, as ours is
)
PRIOR_SHARE = 0.25  # of windows: the perceptual loss costs a third of a step on a CPU
RANDOM_RATE = 1e-2  # of textures that start at random: at 1e-4 a texel moves 0.06 in 600 steps
# at 6 a network of random weights drowns what people have in common: its gradient was 8 times that of L1
PRIOR_PERCEPTUAL = 1.0


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of the renderer; the same class is *small* and *full*, `width` alone tells them apart."""

    width: float = 0.25  # times the channels of the paper: 1.0 full, 0.25 small
    size: int = 256  # pixels, side of the crop
    view: tuple[int, int, int, int] = (
        96,
        256,
        32,
        224,
    )  # top, bottom, left, right: the part of the crop that is worked on
    window: int = 5  # T, frames drawn by one pass
    references: int = 3  # K, frames of the same person shown to the network
    texture_size: int = 256  # texels, side of the neural texture
    texture_channels: int = 16  # 0-2 are colour
    atlas_channels: int = (
        8  # of the atlas, a texture all actors share: it says what part of a face a pixel shows
    )
    style: int = 512  # length of the style vector
    mel: tuple[int, int] = (80, 16)  # bands, columns of the audio code's spectrogram

    def __post_init__(self) -> None:
        if self.size < 16 or self.size & (self.size - 1):
            raise BadInput(f"generator size {self.size} is not a power of two of at least 16")
        if self.texture_channels < 7 or self.texture_channels % 3 != 1:
            raise BadInput(
                f"{self.texture_channels} texture channels; expected colour (3), trust (1), colour layers of"
                " 3 each"
            )
        top, bottom, left, right = self.view
        if not (0 <= top < bottom <= self.size and 0 <= left < right <= self.size) or any(
            x % 16 for x in self.view
        ):
            raise BadInput(
                f"view {self.view} is not top, bottom, left, right inside {self.size} pixels in steps of 16"
            )
        if not 0 < self.width <= 4:
            raise BadInput(
                f"generator width {self.width}; expected above 0 and at most 4 (small is 0.25, full is 1.0)"
            )

    def channels(self, halvings: int) -> int:
        """Feature channels after so many halvings of the crop: 128 at 256 pixels, 256 at 128, 512 from 64
        down, times `width`.
        """
        return max(8, round((128, 256, 512)[min(halvings, 2)] * self.width))

    def frame_channels(self, halvings: int) -> int:
        """Feature channels of one frame alone, where frames share weights, times `width`: 64 at 256 pixels up
        to 256.
        """
        return max(8, round((64, 128, 192, 256)[min(halvings, 3)] * self.width))

    @property
    def colour_layers(self) -> int:
        """Colour layers of the texture behind colour (0-2) and trust (3)."""
        return (self.texture_channels - 4) // 3

    @property
    def view_size(self) -> tuple[int, int]:
        """Height and width of the view, pixels."""
        top, bottom, left, right = self.view
        return bottom - top, right - left

    @property
    def depth(self) -> int:
        """Halvings from the view down to the deepest feature: until its shorter side is 5 or less, or no
        longer even.
        """
        (height, width), depth = self.view_size, 0
        while min(height, width) > 5 and height % 2 == 0 and width % 2 == 0:
            height, width, depth = height // 2, width // 2, depth + 1
        return depth


@dataclass(frozen=True)
class LossConfig:
    """Weights of the four losses (DESIGN.md 2.3) and where each looks."""

    l1: float = 10.0
    l2: float = 60.0  # ours: mean squared difference, which looks at the mouth where L1 looks at skin
    perceptual: float = PAPER_PERCEPTUAL
    perceptual_share: float = (
        1.0  # of windows that the perceptual loss looks at; its weight there grows as much
    )
    reg: float = 5.0
    adversarial: float = 1.0
    mouth: float = 10.0  # weight of L1 inside the mouth
    lower_face: float = 8.0  # weight of L1 in the rest of the mask
    elsewhere: float = 1.0  # weight of L1 outside the mask
    crop: int = 128  # pixels, side of the mouth crop that the perceptual loss and the discriminator see
    vgg_weights: str | None = (
        None  # a safetensors file of ImageNet VGG16 weights; None = random weights of the same network
    )


@dataclass(frozen=True)
class RunConfig:
    """One run of the optimiser over windows of frames: what adaptation and the training of the prior have in
    common.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    minutes: float | None = None  # wall-clock budget of the optimisation; exactly one of minutes and steps
    steps: int | None = None
    batch: int = 1  # windows per pass of one process
    accumulate: int = 1  # passes whose gradients are added up before a step
    learning_rate: float = 3e-3  # of the network, whose layers have equalised rates
    texture_rate: float = 1e-4  # of the textures; from a random start 1e-2
    discriminator_rate: float = 3e-3  # its layers have equalised rates too
    adversarial_start: float = 0.3  # share of the run after which the discriminator joins
    null_share: float = (
        0.5  # share of samples with sound that are drawn with the null audio code all the same
    )
    random_texture: bool = False  # the paper's start; default: the person's mean unwrapped frames
    uv_jitter: float = 0.002  # standard deviation of a shift of the whole UV map, in texture widths
    ema: float = 0.99  # decay per step of the averaged weights that are exported
    scattered: float = 0.7  # share of training windows whose frames are no neighbours
    passages: int = 0  # starting textures of each person, each of a few seconds; 0 = one, of all the frames
    mirrored: float = 0.0  # share of windows seen in a mirror
    recoloured: float = 0.0  # strength of random changes of light and skin
    anchor: float = (
        0.0  # L2-SP: the share of the way back to the starting weights that a step of rate 1 would go
    )
    # at the end the best averaged weights on held-out frames are put back, those of the start included
    keep_best: bool = True
    patience: int = 0  # measurements on held-out frames without a gain, after which the run ends; 0 = never
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise BadInput(
                f"minutes {self.minutes} and steps {self.steps} were given; expected exactly one of them"
            )
        if (self.minutes is not None and self.minutes <= 0) or (self.steps is not None and self.steps <= 0):
            raise BadInput(f"minutes {self.minutes}, steps {self.steps}: the run would end before it begins")
        rates = {
            "rate": self.learning_rate,
            "rate of the textures": self.texture_rate,
            "rate of the critic": self.discriminator_rate,
            "share that the perceptual loss looks at": self.losses.perceptual_share,
        }
        for name, value in rates.items():
            if value <= 0:
                raise BadInput(f"{name} {value:g}; expected more than 0")
        if self.losses.adversarial < 0 or self.seed < 0:
            raise BadInput(
                f"adversarial {self.losses.adversarial:g}, seed {self.seed}; expected 0 or more of each"
            )
        if self.batch < 1 or self.accumulate < 1:
            raise BadInput(f"batch {self.batch}, accumulate {self.accumulate}; expected 1 or more of each")

    def save(self, path: Path) -> None:
        """Write as JSON, resolved, next to the run."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def run_folder(output: Path) -> Path:
    """Where the training of `output` (NAME.actor, NAME.safetensors) keeps checkpoints: NAME.run beside it."""
    return output.with_name(re.sub(r"\.(actor|safetensors)$", "", output.name) + ".run")


@dataclass(frozen=True)
class AdaptConfig(RunConfig):
    """One adaptation, everything that decides its result apart from the clips and the prior."""

    held_out: int = (
        10  # every n-th window of frames is kept for the PSNR that is shown while training and stops it
    )


def adapt_config(prior: bool, rehearsal: bool, **given: Any) -> AdaptConfig:
    """Defaults of an adaptation, from a prior or from scratch, with other people's data at hand or not;
    `given` goes first.
    """
    values: dict[str, Any] = {}
    if prior:
        # the prior knows sharp mouths; with one person the perceptual and adversarial losses only cost PSNR
        losses = LossConfig(perceptual=PRIOR_PERCEPTUAL, perceptual_share=PRIOR_SHARE, adversarial=0.0)
        values = {"losses": losses, "learning_rate": 1.5e-3, "patience": 6}
        if not rehearsal:
            values["anchor"] = 3.0  # at 0.1 later frames lost 0.7 dB again between steps 100 and 300
    if given.get("random_texture"):
        values["texture_rate"] = RANDOM_RATE
    return AdaptConfig(**{**values, **given})


@dataclass(frozen=True)
class PriorConfig(RunConfig):
    """One training of the prior, everything that decides its result apart from the dataset."""

    losses: LossConfig = field(
        default_factory=lambda: LossConfig(perceptual=PRIOR_PERCEPTUAL, perceptual_share=PRIOR_SHARE)
    )
    learning_rate: float = 2e-3
    texture_rate: float = 3e-4
    discriminator_rate: float = 2e-3
    adversarial_start: float = 0.6
    keep_best: bool = False  # detail costs PSNR, and whoever adapts wants the detail
    ema: float = 0.999
    texture_frames: int = 40  # of a passage, at most, that make its starting texture
    passages: int = 3
    mirrored: float = 0.5
    recoloured: float = 1.0


def generator_config(fields: dict[str, Any]) -> GeneratorConfig:
    """Read a `GeneratorConfig` back from its JSON form. Raises `BadInput` for fields it does not have."""
    try:
        return GeneratorConfig(**{**fields, "mel": tuple(fields["mel"]), "view": tuple(fields["view"])})
    except (TypeError, KeyError) as e:
        raise BadInput(f"renderer configuration {fields} is not one of this version: {e}") from e


def prior_config(
    size: str, vgg: Path | None = None, adversarial: float = 1.0, rate: float | None = None, **given: Any
) -> PriorConfig:
    """The defaults of a training of the prior in a size; `given` goes first. Raises `BadInput` for what
    cannot be trained.
    """
    if size not in WIDTHS:
        raise BadInput(f"--size {size!r} is not one of {', '.join(WIDTHS)}")
    losses = PriorConfig(steps=1).losses if vgg is None else LossConfig(vgg_weights=str(vgg))
    losses = replace(losses, adversarial=adversarial)
    if rate is not None:
        given["learning_rate"] = rate
    if given.get("random_texture"):
        given["texture_rate"] = RANDOM_RATE
    return PriorConfig(GeneratorConfig(width=WIDTHS[size]), losses, **given)
