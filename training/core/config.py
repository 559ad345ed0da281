"""One plain configuration per stage of training, checked before any work."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from training.core.formats import current_names
from visualdub.box import Box
from visualdub.errors import BadInput
from visualdub.render.aligned_references import CHANNELS as ALIGNED_CHANNELS
from visualdub.storage import write_text

WIDTHS = {"small": 0.25, "full": 1.0}  # names of DESIGN.md 2.3
# The paper's weight of 10 belongs to a loss that is not divided by its features' magnitude, as ours is.
PAPER_PERCEPTUAL = 6.0
PRIOR_SHARE = 0.25  # of the windows get the perceptual loss, which costs a third of a step on a CPU
RANDOM_RATE = 1e-2  # of textures that start at random: at 1e-4 a texel moves by 0.06 in 600 steps
# At 6 a network of random weights drowns what people have in common: its gradient was 8 times that of L1.
PRIOR_PERCEPTUAL = 1.0
VIEW = Box(left=32, top=96, right=224, bottom=256)  # of the crop, what masks reach and a margin above it


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of the renderer. *Small* and *full* are the same class and differ in `width` alone."""

    width: float = 0.25  # factor on the paper's numbers of channels: 1.0 full, 0.25 small
    size: int = 256  # pixels, side of the crop
    view_box: Box = VIEW  # the part of the crop that the network works on, in crop pixels
    window: int = 5  # T, frames that one pass renders
    references: int = 3  # K, other frames of the same person in the network's input
    aligned: bool = True  # whether it takes aligned references, too
    texture_size: int = 256  # texels, side of the neural texture
    texture_channels: int = 16  # colour (3), confidence (1), basis layers (3 each)
    # of the UV embedding, a texture that all actors share: it tells which part of a face a pixel shows
    uv_embedding_channels: int = 8
    style: int = 512  # length of the style vector
    mel: tuple[int, int] = (80, 16)  # bands and columns of the audio code's spectrogram

    def __post_init__(self) -> None:
        if self.size < 16 or self.size & (self.size - 1):
            raise BadInput(f"generator size {self.size} is not a power of two of at least 16")
        if self.texture_channels < 7 or self.texture_channels % 3 != 1:
            raise BadInput(
                f"{self.texture_channels} texture channels; expected colour (3), confidence (1) and basis"
                " layers of 3 each"
            )
        left, top, right, bottom = self.view_box
        inside = 0 <= left < right <= self.size and 0 <= top < bottom <= self.size
        if not inside or any(x % 16 for x in self.view_box):
            raise BadInput(
                f"view box {tuple(self.view_box)} is not left, top, right, bottom inside {self.size} pixels"
                " in steps of 16"
            )
        if not 0 < self.width <= 4:
            raise BadInput(
                f"generator width {self.width}; expected above 0 and at most 4 (small is 0.25, full is 1.0)"
            )

    def channels(self, halvings: int) -> int:
        """Feature channels of the stacked window after `halvings` halvings of the crop.

        128 at 256 pixels, 256 at 128, 512 from 64 down, times `width`.
        """
        return max(8, round((128, 256, 512)[min(halvings, 2)] * self.width))

    def frame_channels(self, halvings: int) -> int:
        """Feature channels of a single frame, where all frames share weights: 64 at 256 pixels up to 256,
        times `width`.
        """
        return max(8, round((64, 128, 192, 256)[min(halvings, 3)] * self.width))

    @property
    def aligned_channels(self) -> int:
        """Channels of the aligned references, R'G'B' and confidence; 0 where the network takes none."""
        return ALIGNED_CHANNELS if self.aligned else 0

    @property
    def basis_layers(self) -> int:
        """Basis layers of the texture, which follow colour (0-2) and confidence (3)."""
        return (self.texture_channels - 4) // 3

    @property
    def view_size(self) -> tuple[int, int]:
        """Height and width of the view in pixels."""
        return self.view_box.height, self.view_box.width

    @property
    def depth(self) -> int:
        """Halvings from the view down to the deepest feature: until its shorter side is 5 or less, or a side
        is odd.
        """
        (height, width), depth = self.view_size, 0
        while min(height, width) > 5 and height % 2 == 0 and width % 2 == 0:
            height, width, depth = height // 2, width // 2, depth + 1
        return depth


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses (DESIGN.md 2.3) and the regions they apply to."""

    l1: float = 10.0
    l2: float = 60.0  # ours: the mean squared difference weighs the mouth where L1 weighs skin
    perceptual: float = PAPER_PERCEPTUAL
    # share of the windows that get the perceptual loss; its weight there grows by as much
    perceptual_share: float = 1.0
    reg: float = 5.0
    adversarial: float = 1.0
    mouth: float = 10.0  # weight of L1 inside the mouth
    lower_face: float = 8.0  # weight of L1 in the rest of the mask
    elsewhere: float = 1.0  # weight of L1 outside the mask
    crop: int = 128  # pixels, side of the mouth crop that perceptual loss and discriminator take
    # a safetensors file of ImageNet weights of VGG16; None: random weights of the same network
    vgg_weights: str | None = None


@dataclass(frozen=True)
class RunConfig:
    """One run of the optimiser over windows of frames: what adaptation and training of the prior share."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    minutes: float | None = None  # wall-clock budget of the optimisation; exactly one of minutes and steps
    steps: int | None = None
    batch: int = 1  # windows per pass of one process
    accumulate: int = 1  # passes whose gradients are added up before a step
    learning_rate: float = 3e-3  # of the network, whose layers have equalised rates
    texture_rate: float = 1e-4  # learning rate of the textures; from a random start 1e-2
    discriminator_rate: float = 3e-3  # learning rate of the discriminator, whose layers have equalised rates
    adversarial_start: float = 0.3  # share of the run after which the discriminator joins
    null_share: float = 0.5  # share of samples with sound that get the null audio code nevertheless
    random_texture: bool = False  # the paper's start; default: the person's mean unwrapped frames
    uv_jitter: float = 0.002  # standard deviation of a shift of the whole UV map, in texture widths
    ema: float = 0.99  # decay per step of the averaged weights that are exported
    scattered: float = 0.7  # share of training windows whose frames are not neighbours
    # starting textures of each person, each made of a segment of a few seconds; 0: one, made of all frames
    segments: int = 0
    mirrored: float = 0.0  # share of windows that are mirrored
    aligned_dropout: float = 0.0  # share of windows without aligned references
    recoloured: float = 0.0  # strength of random changes of light and skin
    # L2-SP: the share of the way back to the starting weights that a step of rate 1 would go
    anchor: float = 0.0
    # At the end the averaged weights that are best on held-out frames are restored, those of the start
    # included.
    keep_best: bool = True
    patience: int = 0  # evaluations on held-out frames without a gain, after which the run ends; 0: never
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise BadInput(
                f"minutes {self.minutes} and steps {self.steps} were given; expected exactly one of them"
            )
        if (self.minutes is not None and self.minutes <= 0) or (self.steps is not None and self.steps <= 0):
            raise BadInput(f"minutes {self.minutes}, steps {self.steps}: the run would end before it begins")
        rates = {
            "learning rate": self.learning_rate,
            "learning rate of the textures": self.texture_rate,
            "learning rate of the discriminator": self.discriminator_rate,
            "share of the windows with the perceptual loss": self.losses.perceptual_share,
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
        """Write the resolved configuration as JSON."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def run_folder(output: Path) -> Path:
    """Where the training of `output` (NAME.actor, NAME.safetensors) keeps checkpoints: NAME.run beside it."""
    return output.with_name(re.sub(r"\.(actor|safetensors)$", "", output.name) + ".run")


@dataclass(frozen=True)
class AdaptConfig(RunConfig):
    """One adaptation: everything that decides its result apart from the clips and the prior."""

    # Every n-th window of frames is held out: its PSNR is shown while training, and ends the training.
    held_out: int = 10


def adapt_config(prior: bool, rehearsal: bool, **given: Any) -> AdaptConfig:
    """The configuration of an adaptation: the defaults for its case, replaced by the values `given`.

    prior: whether it starts from a prior or from scratch. rehearsal: whether other people's data are mixed
    in.
    """
    values: dict[str, Any] = {}
    if prior:
        # The prior draws sharp mouths; with one person the perceptual and adversarial losses only cost PSNR.
        losses = LossConfig(perceptual=PRIOR_PERCEPTUAL, perceptual_share=PRIOR_SHARE, adversarial=0.0)
        values = {"losses": losses, "learning_rate": 1.5e-3, "patience": 6}
        if not rehearsal:
            values["anchor"] = 3.0  # at 0.1 later frames lost 0.7 dB again between steps 100 and 300
    if given.get("random_texture"):
        values["texture_rate"] = RANDOM_RATE
    return AdaptConfig(**{**values, **given})


@dataclass(frozen=True)
class PriorConfig(RunConfig):
    """One training of the prior: everything that decides its result apart from the dataset."""

    losses: LossConfig = field(
        default_factory=lambda: LossConfig(perceptual=PRIOR_PERCEPTUAL, perceptual_share=PRIOR_SHARE)
    )
    learning_rate: float = 2e-3
    texture_rate: float = 3e-4
    discriminator_rate: float = 2e-3
    adversarial_start: float = 0.6
    keep_best: bool = False  # detail costs PSNR, and an adaptation needs the detail
    ema: float = 0.999
    texture_frames: int = 40  # most frames of a segment that make its starting texture
    segments: int = 3
    mirrored: float = 0.5
    aligned_dropout: float = 0.1
    recoloured: float = 1.0


def generator_config(fields: dict[str, Any]) -> GeneratorConfig:
    """Read a `GeneratorConfig` back from its JSON form, that of an earlier version included.

    Raises `BadInput` for fields that it does not have.
    """
    try:
        values = current_names(fields)
        values = {"aligned": False, **values}  # of a network that is older than they are
        values |= {"mel": tuple(values["mel"]), "view_box": Box(*values["view_box"])}
        return GeneratorConfig(**values)
    except (TypeError, KeyError, ValueError) as e:
        raise BadInput(f"renderer configuration {fields} is not one of this version: {e}") from e


def prior_config(
    size: str, vgg: Path | None = None, adversarial: float = 1.0, rate: float | None = None, **given: Any
) -> PriorConfig:
    """The configuration of a training of the prior in a size: the defaults, replaced by the values `given`.

    vgg: ImageNet weights of VGG16. adversarial: weight of that loss. rate: learning rate of the network.
    Raises `BadInput` for values that cannot be trained with.
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
