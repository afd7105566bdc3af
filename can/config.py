"""The configuration of a run: what was trained, on what and how; validated when it is made.

Every field is a resolved value (a number, not a rule), so that `config.json` alone repeats a run. Which values a scale
takes (Tables 5-10 of the paper at `paper`) is declared in `experiments/harness/`, not here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from can.errors import ConfigError, check_choice, check_range


@dataclass(frozen=True)
class ModelConfig:
    """Encoder, decoder and projection head (paper, Sec. 3 and App. C)."""

    size: str
    image_size: int  # pixels, square
    patch_size: int  # pixels, square; must divide image_size
    width: int
    depth: int
    heads: int
    mlp_dim: int
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    decoder_mlp_dim: int = 2048
    head_width: int = 4096
    head_depth: int = 2  # hidden layers, each FC, BatchNorm, ReLU
    head_out: int = 128
    cls_token: bool = False  # CAN pools the mean of the tokens and has none; He et al.'s weights have one
    mask_token: str = "encoder"  # the width [M] lives in: "encoder" (paper, Sec. 3.1) or "decoder" (He et al.)
    dtype: str = "float32"  # of what encoder and decoder compute; parameters, head and losses stay float32
    remat: str = "none"  # what the backward pass recomputes of a block: "none", all but the "dense" layers, or "block"
    scan_unroll: int = 1  # how many blocks the scan over depth unrolls

    def __post_init__(self) -> None:
        for what, value in dataclasses.asdict(self).items():
            if isinstance(value, int):
                check_range(what, value, 0 if what in ("cls_token", "decoder_depth", "head_depth") else 1, float("inf"))
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
        check_choice("mask_token", self.mask_token, ("encoder", "decoder"))
        check_choice("dtype", self.dtype, ("float32", "bfloat16"))
        check_choice("remat", self.remat, ("none", "dense", "block"))

    @property
    def num_patches(self) -> int:
        """T, the number of patches of an image."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class MethodSettings:
    """Base of the methods' settings. Each file of `can/methods` defines those of its method, and checks them."""

    name: str  # of the method; a method's own settings fix it


@dataclass(frozen=True)
class AugmentConfig:
    """How a view is made of an image (Chen et al., 2020); the strengths are those of Table 5."""

    name: str = "simclr"  # "simclr": crop, flip, colour, blur; "mae": crop and flip; "none"
    crop_area_min: float = 0.08
    crop_area_max: float = 1.0
    color_strength: float = 1.0
    color_prob: float = 0.8
    gray_prob: float = 0.2
    blur_prob: float = 0.5
    rand_augment_layers: int = 0  # operations an image after all else (Cubuk et al., 2020); 0: none
    rand_augment_magnitude: float = 9.0  # of 10

    def __post_init__(self) -> None:
        check_choice("augmentation", self.name, ("simclr", "mae", "none"))
        check_range("crop_area_min", self.crop_area_min, 1e-4, self.crop_area_max)
        check_range("crop_area_max", self.crop_area_max, self.crop_area_min, 1.0)
        for what in ("color_prob", "gray_prob", "blur_prob"):
            check_range(what, getattr(self, what), 0.0, 1.0)
        check_range("rand_augment_layers", self.rand_augment_layers, 0, 10)
        check_range("rand_augment_magnitude", self.rand_augment_magnitude, 0, 30)

    @property
    def crop_area(self) -> tuple[float, float] | None:
        """Smallest and largest share of the image's area in a random crop; None: no random crops."""
        return None if self.name == "none" else (self.crop_area_min, self.crop_area_max)


@dataclass(frozen=True)
class DataConfig:
    """The images that a run is pre-trained on."""

    name: str  # a data set of can.data.load: "offline_mix", "imagenet2012", "folder:PATH", ...
    split: str = "train"


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with a linear warm-up and a cosine to zero (Tables 5-8)."""

    base_lr: float  # the peak learning rate is base_lr * batch_size / 256
    weight_decay: float
    batch_size: int  # images a step, not views, over all devices
    total_steps: int  # 0 leaves the encoder as it was initialised
    warmup_steps: int
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 0.0  # global gradient norm; 0: no clipping
    max_steps: int = 0  # stop here, on the unchanged schedule, to try a run out; 0: train to the end
    accumulate: int = 1  # encode a batch in so many parts, to save memory; negatives remain those of the whole batch

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise ConfigError(f"accumulate {self.accumulate} does not divide batch_size {self.batch_size}")
        if not 0 <= self.warmup_steps <= self.total_steps:
            raise ConfigError(f"warmup_steps {self.warmup_steps} must lie in 0..total_steps ({self.total_steps})")
        for what in ("base_lr", "weight_decay", "clip_norm", "max_steps"):
            check_range(what, getattr(self, what), 0.0, float("inf"))

    @property
    def peak_lr(self) -> float:
        """The learning rate at the end of the warm-up: base_lr * batch_size / 256 (Goyal et al., 2017)."""
        return self.base_lr * self.batch_size / 256

    @property
    def last_step(self) -> int:
        """The number of steps after which the run is finished."""
        return min(self.max_steps or self.total_steps, self.total_steps)


@dataclass(frozen=True)
class RunConfig:
    """One pre-training run: method x model x data x schedule x seed, at a scale."""

    scale: str
    epochs: float  # as the paper counts them; the scale maps them to optim.total_steps
    seed: int
    model: ModelConfig
    method: MethodSettings  # of the method's own class: `can.methods.settings_class`
    augment: AugmentConfig
    data: DataConfig
    optim: OptimConfig

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as written to `config.json`."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class LinearProbeConfig:
    """A linear classifier on the frozen encoder's pooled features (Table 10)."""

    base_lr: float = 0.1  # the peak learning rate is base_lr * batch_size / 256
    batch_size: int = 16384
    epochs: float = 100
    warmup_epochs: float = 10
    weight_decay: float = 0.0
    momentum: float = 0.9
    cache_features: bool = False  # features of the un-augmented images, extracted once (small scales)
    max_steps: int = 0  # stop early, for trying settings out; 0: train to the end

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"the linear probe's batch_size must be at least 1, not {self.batch_size}")
        for what in ("base_lr", "epochs", "warmup_epochs", "weight_decay", "momentum", "max_steps"):
            check_range(f"the linear probe's {what}", getattr(self, what), 0.0, float("inf"))


@dataclass(frozen=True)
class FinetuneConfig:
    """All of the encoder's weights and a linear classifier, trained on labelled images (Table 9)."""

    base_lr: float = 5e-4  # the peak learning rate is base_lr * batch_size / 256
    batch_size: int = 1024
    epochs: float = 100
    warmup_epochs: float = 5
    weight_decay: float = 0.005
    beta1: float = 0.9
    beta2: float = 0.999
    layer_decay: float = 0.65  # of the learning rate, per layer below the classifier
    drop_path: float = 0.1  # of the last block; rises linearly from 0 (Huang et al., 2016)
    label_smoothing: float = 0.1
    rand_augment_layers: int = 2  # operations an image (Cubuk et al., 2020); 0: none
    rand_augment_magnitude: float = 9.0  # of 10
    erase_prob: float = 0.25  # of random erasing (Zhong et al., 2020)
    mixup: float = 0.0  # alpha of the Beta distribution (Zhang et al., 2018); 0: none
    cutmix: float = 0.0  # alpha (Yun et al., 2019); 0: none; with both, each batch takes one of them
    crop_area_min: float = 0.08
    max_steps: int = 0  # stop early, for trying settings out; 0: train to the end

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"finetuning's batch_size must be at least 1, not {self.batch_size}")
        for what in ("base_lr", "epochs", "warmup_epochs", "weight_decay", "mixup", "cutmix", "max_steps"):
            check_range(f"finetuning's {what}", getattr(self, what), 0.0, float("inf"))
        for what in ("layer_decay", "drop_path", "label_smoothing", "erase_prob"):
            check_range(f"finetuning's {what}", getattr(self, what), 0.0, 1.0)
        check_range("finetuning's rand_augment_layers", self.rand_augment_layers, 0, 10)
        check_range("finetuning's rand_augment_magnitude", self.rand_augment_magnitude, 0, 30)
        check_range("finetuning's crop_area_min", self.crop_area_min, 1e-4, 1.0)


@dataclass(frozen=True)
class FewShotConfig:
    """A classifier of frozen features from a few labelled images of each class (Figure 5; protocols of App. C)."""

    rule: str = "lsr"  # "lsr": closed-form ridge regression (Dosovitskiy et al., 2021); "sgd": a linear head (App. C)
    shots: tuple[int, ...] = (1, 5, 10, 25)  # labelled images a class
    choices: int = 3  # random choices of those images; the result is their mean
    l2: float = 1024.0  # of "lsr"
    base_lr: float = 0.01  # of "sgd"
    steps: int = 2500  # of "sgd"
    batch_size: int = 512  # of "sgd"
    resolution: str = "encoder"  # of "sgd": images of the encoder's own size, or "bit": 128 or 384 pixels (App. C)

    def __post_init__(self) -> None:
        check_choice("few-shot rule", self.rule, ("lsr", "sgd"))
        check_choice("few-shot resolution", self.resolution, ("encoder", "bit"))
        if not self.shots or min(self.shots) < 1:
            raise ConfigError(f"few-shot shots must be whole numbers from 1 on, not {self.shots}")
        for what in ("choices", "steps", "batch_size"):
            check_range(f"few-shot {what}", getattr(self, what), 1, float("inf"))
        for what in ("l2", "base_lr"):
            check_range(f"few-shot {what}", getattr(self, what), 0.0, float("inf"))
