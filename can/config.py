"""The configuration of a run: what was trained, on what and how; validated when it is made.

Every field is a resolved value (a number, not a rule), so that `config.json` alone repeats a run. Which values a scale
takes (Tables 5-10 of the paper at `paper`) is declared in `can/commands/`, not here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from can.errors import ConfigError
from can.fields import (
    Checked,
    Count,
    CountOrZero,
    Depth,
    DepthOrZero,
    NotNegative,
    OneOf,
    Pixels,
    Positive,
    Share,
    ShareBelowOne,
    Width,
    Within,
)

CropArea = Annotated[float, Within(1e-4, 1)]  # share of an image's area


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Encoder, decoder and projection head (paper, Sec. 3 and App. C)."""

    size: str
    image_size: Pixels  # pixels a side of what the encoder sees
    patch_size: Pixels  # pixels a side of a patch; must divide image_size
    width: Width  # of the encoder's tokens
    depth: Depth  # blocks of the encoder
    heads: Width  # of its attention
    mlp_dim: Width  # hidden units of its MLPs
    decoder_width: Width = 512  # of the decoder's tokens
    decoder_depth: Depth = 8  # blocks of the decoder
    decoder_heads: Width = 16  # of its attention
    decoder_mlp_dim: Width = 2048  # hidden units of its MLPs
    head_width: Width = 4096  # of the projection head's hidden layers
    head_depth: DepthOrZero = 2  # hidden layers of the projection head, each FC, BatchNorm, ReLU
    head_out: Width = 128  # numbers that the projection head puts out
    cls_token: bool = False  # a token beside the patches; CAN pools the mean of the tokens and has none
    # The width [M] lives in: "encoder" (paper, Sec. 3.1) or "decoder" (He et al.).
    mask_token: Annotated[str, OneOf(("encoder", "decoder"))] = "encoder"
    # Type of what encoder and decoder compute; parameters, head and losses stay float32.
    dtype: Annotated[str, OneOf(("float32", "bfloat16"))] = "float32"
    # What the backward pass recomputes of a block: "none", all but the "dense" layers, or "block".
    remat: Annotated[str, OneOf(("none", "dense", "block"))] = "none"
    scan_unroll: Depth = 1  # how many blocks the scan over depth unrolls

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size % self.patch_size:
            raise ConfigError(
                f"patch_size {self.patch_size} does not divide image_size {self.image_size}: "
                f"pass an --image_size that is a multiple of {self.patch_size}"
            )
        for what, width, heads in (
            ("width", self.width, self.heads),
            ("decoder_width", self.decoder_width, self.decoder_heads),
        ):
            if width % heads:
                raise ConfigError(f"{what} {width} is not a multiple of its {heads} attention heads")
            if width % 4:
                raise ConfigError(f"{what} {width} is not a multiple of 4, which 2-D sin-cos positions need")

    @property
    def num_patches(self) -> int:
        """T, the number of patches of an image."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class MethodSettings(Checked):
    """Base of the methods' settings. Each file of `can/methods` defines those of its method, and checks them."""

    name: str  # of the method; a method's own settings fix it


@dataclass(frozen=True)
class AugmentConfig(Checked):
    """How a view is made of an image (Chen et al., 2020); the strengths are those of Table 5."""

    # "simclr": crop, flip, colour, blur; "byol": the same, weaker, and solarisation; "mae": crop and flip; "none"
    name: Annotated[str, OneOf(("simclr", "byol", "beit", "mae", "none"))] = "simclr"
    crop_area_min: CropArea = 0.08  # smallest share of the image's area in a random crop
    crop_area_max: CropArea = 1.0  # largest share
    color_strength: Annotated[float, Within(0, 2)] = 1.0  # of the change of colours
    color_prob: Share = 0.8  # chance that colours are changed
    gray_prob: Share = 0.2  # chance that they are dropped
    blur_prob: Share = 0.5  # chance that a view is blurred
    rand_augment_layers: Annotated[int, Within(0, 10)] = 0  # operations of RandAugment after all else; 0: none
    rand_augment_magnitude: Annotated[float, Within(0, 30)] = 9.0  # of RandAugment, of 10 (Cubuk et al., 2020)
    solarize_prob: Share = 0.0  # chance that bright pixels are inverted
    local_crops: CountOrZero = 0  # further, small views of an image (Caron et al., 2021)
    local_size: Pixels = 96  # pixels a side of a local crop; must not exceed the image's
    local_area_min: CropArea = 0.05  # smallest share of the image's area in a local crop
    local_area_max: CropArea = 0.4  # largest share

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, low, high in (
            ("crop_area", self.crop_area_min, self.crop_area_max),
            ("local_area", self.local_area_min, self.local_area_max),
        ):
            if low > high:
                raise ConfigError(f"{what}_min {low:g} must not exceed {what}_max {high:g}")

    @property
    def local(self) -> AugmentConfig:
        """How a local crop is made, as the views of full size are but for its area."""
        return dataclasses.replace(self, crop_area_min=self.local_area_min, crop_area_max=self.local_area_max)

    @property
    def crop_area(self) -> tuple[float, float] | None:
        """Smallest and largest share of the image's area in a random crop; None: no random crops."""
        return None if self.name == "none" else (self.crop_area_min, self.crop_area_max)


@dataclass(frozen=True)
class DataConfig(Checked):
    """The images that a run is pre-trained on."""

    name: str  # a data set of can.data.load: "offline_mix", "imagenet2012", "folder:PATH", "hf:PATH", ...
    split: str = "train"


@dataclass(frozen=True)
class OptimConfig(Checked):
    """The optimiser, AdamW if not said otherwise, with a linear warm-up and a cosine to zero (Tables 5-8)."""

    base_lr: NotNegative  # the peak learning rate is base_lr * batch_size / 256
    weight_decay: NotNegative  # of matrices, times the learning rate
    batch_size: Count  # images a step, not views, over all devices
    total_steps: CountOrZero  # of the schedule; 0 leaves the encoder as it was initialised
    warmup_steps: CountOrZero  # in which the learning rate rises in a line
    beta1: ShareBelowOne = 0.9  # momentum
    beta2: ShareBelowOne = 0.95  # of AdamW's second moments
    clip_norm: NotNegative = 0.0  # largest norm of the gradient of all parameters; 0: no clipping
    max_steps: CountOrZero = 0  # stop here, on the unchanged schedule, to try a run out; 0: train to the end
    accumulate: Count = 1  # encode a batch in so many parts, to save memory; negatives remain those of the whole batch
    # AdamW, or LARS, which takes beta1 for its momentum and has the trust coefficient .001.
    optimizer: Annotated[str, OneOf(("adamw", "lars"))] = "adamw"
    clip_each: bool = False  # clip_norm is of each parameter's gradient by itself (Caron et al., 2021)
    weight_decay_growth: NotNegative = 1.0  # what weight decay is multiplied by in the end, on a cosine from 1
    decay_vectors: bool = False  # weight decay is of biases, norms and learned tokens, too
    last_lr: NotNegative = 0.0  # learning rate at the end of the cosine

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise ConfigError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        if self.optimizer == "lars" and (self.weight_decay_growth != 1 or self.decay_vectors):
            raise ConfigError("lars has neither weight_decay_growth nor decay_vectors: leave them, or pass adamw")
        if self.warmup_steps > self.total_steps:
            raise ConfigError(f"warmup_steps {self.warmup_steps} must lie in 0..total_steps ({self.total_steps})")

    @property
    def peak_lr(self) -> float:
        """The learning rate at the end of the warm-up: base_lr * batch_size / 256 (Goyal et al., 2017)."""
        return self.base_lr * self.batch_size / 256

    @property
    def last_step(self) -> int:
        """The number of steps after which the run is finished."""
        return min(self.max_steps or self.total_steps, self.total_steps)


@dataclass(frozen=True)
class RunConfig(Checked):
    """One pre-training run: method x model x data x schedule x seed, at a scale."""

    scale: str
    epochs: NotNegative  # as the paper counts them; the scale maps them to optim.total_steps
    seed: Annotated[int, Within(0, 2**32 - 1)]
    model: ModelConfig
    method: MethodSettings  # of the method's own class: `can.methods.settings_class`
    augment: AugmentConfig
    data: DataConfig
    optim: OptimConfig

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as written to `config.json`."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class LinearProbeConfig(Checked):
    """A linear classifier on the frozen encoder's pooled features (Table 10)."""

    said: ClassVar[str] = "the linear probe's "

    base_lr: NotNegative = 0.1  # the peak learning rate is base_lr * batch_size / 256
    batch_size: Count = 16384  # images a step
    epochs: Positive = 100  # passes over the training images
    warmup_epochs: NotNegative = 10  # in which the learning rate rises in a line
    weight_decay: NotNegative = 0.0  # of the classifier's matrix
    momentum: ShareBelowOne = 0.9  # of SGD
    cache_features: bool = False  # features of the un-augmented images, extracted once (small scales)
    epoch_images: CountOrZero = 0  # a smaller training set is passed over until an epoch has as many steps as of these
    max_steps: CountOrZero = 0  # stop early, for trying settings out; 0: train to the end

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_warmup(self)


@dataclass(frozen=True)
class FinetuneConfig(Checked):
    """All of the encoder's weights and a linear classifier, trained on labelled images (Table 9).

    The last five fields are those in which He et al.'s code (2022) has what the paper says nothing of; their defaults
    are ours for the paper's finetuning.
    """

    said: ClassVar[str] = "finetuning's "

    base_lr: NotNegative = 5e-4  # the peak learning rate is base_lr * batch_size / 256
    batch_size: Count = 1024  # images a step
    epochs: Positive = 100  # passes over the training images
    warmup_epochs: NotNegative = 5  # in which the learning rate rises in a line
    weight_decay: NotNegative = 0.005  # of matrices, times the learning rate
    beta1: ShareBelowOne = 0.9  # AdamW's momentum
    beta2: ShareBelowOne = 0.999  # of AdamW's second moments
    layer_decay: Share = 0.65  # of the learning rate, per layer below the classifier
    drop_path: ShareBelowOne = 0.1  # rate of the last block; rises linearly from 0 (Huang et al., 2016)
    label_smoothing: ShareBelowOne = 0.1  # share of a label that all classes get
    rand_augment_layers: Annotated[int, Within(0, 10)] = 2  # operations of RandAugment (Cubuk et al., 2020); 0: none
    rand_augment_magnitude: Annotated[float, Within(0, 30)] = 9.0  # of RandAugment, of 10
    erase_prob: Share = 0.25  # chance that a part is erased (Zhong et al., 2020)
    mixup: NotNegative = 0.0  # mixup's alpha of the Beta distribution (Zhang et al., 2018); 0: none
    cutmix: NotNegative = 0.0  # CutMix's alpha (Yun et al., 2019); 0: none; with both, each batch takes one of them
    crop_area_min: CropArea = 0.08  # smallest share of the image's area in a random crop
    max_steps: CountOrZero = 0  # stop early, for trying settings out; 0: train to the end
    # RandAugment's operations: Cubuk et al.'s, or timm's (`can.augment.timm_policy`).
    rand_augment_policy: Annotated[str, OneOf(("usual", "timm"))] = "usual"
    rand_augment_std: Annotated[float, Within(0, 10)] = 0.0  # deviation of the magnitude, by timm's policy
    mix_share_of: Annotated[str, OneOf(("pair", "batch"))] = "pair"  # what draws its own share of mixing, and box
    last_lr: NotNegative = 0.0  # the classifier's learning rate at the end of the cosine
    norm_after_pool: bool = False  # the encoder's last norm is replaced by a new one behind the mean of the tokens

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_warmup(self)


@dataclass(frozen=True)
class FewShotConfig(Checked):
    """A classifier of frozen features from a few labelled images of each class (Figure 5; protocols of App. C)."""

    said: ClassVar[str] = "few-shot "

    # "lsr": closed-form ridge regression (Dosovitskiy et al., 2021); "sgd": a linear head (App. C)
    rule: Annotated[str, OneOf(("lsr", "sgd"))] = "lsr"
    shots: Annotated[tuple[int, ...], Within(1, 1000)] = (1, 5, 10, 25)  # labelled images a class
    choices: Annotated[int, Within(1, 1000)] = 3  # random choices of those images; the result is their mean
    l2: NotNegative = 1024.0  # penalty of "lsr"
    base_lr: NotNegative = 0.01  # learning rate of "sgd"
    steps: Count = 2500  # of training, of "sgd"
    batch_size: Count = 512  # images a step, of "sgd"
    # Of "sgd": images of the encoder's own size, or "bit": 128 or 384 pixels (App. C).
    resolution: Annotated[str, OneOf(("encoder", "bit"))] = "encoder"


@dataclass(frozen=True)
class KnnConfig(Checked):
    """Classification by nearest neighbours of frozen features (Wu et al., 2018; the numbers of DINO's evaluation)."""

    said: ClassVar[str] = "nearest neighbours' "

    k: Count = 20  # neighbours
    temperature: Positive = 0.07  # a neighbour's weight is exp(cosine / temperature)


def _check_warmup(config: LinearProbeConfig | FinetuneConfig) -> None:
    if config.warmup_epochs > config.epochs:
        raise ConfigError(
            f"warmup_epochs {config.warmup_epochs:g} exceed {config.said}{config.epochs:g} epochs: pass fewer"
        )
