"""No encoder at all: the pixels themselves, which every encoder has to beat."""

from __future__ import annotations

from dataclasses import dataclass, field

from flax import nnx
from jaxtyping import Array, Float

from can.config import MethodSettings, ModelConfig
from can.methods.method import Method


@dataclass(frozen=True)
class PixelsSettings(MethodSettings):
    """None."""

    name: str = field(default="pixels", init=False)


class RawPixels(nnx.Module):
    """Stands where other methods have an encoder; it has no parameters."""

    config = None  # no setting of a model changes what it returns

    def __init__(self, image_size: int):
        self.image_size = image_size
        self.num_features = image_size**2 * 3

    def features(self, images: Float[Array, "batch size size 3"]) -> Float[Array, "batch features"]:
        """The normalised pixels of each image, in one row."""
        return images.reshape(len(images), -1)


class Pixels(Method):
    """The baseline of raw pixels, at the resolution that encoders see."""

    name = "pixels"
    Settings = PixelsSettings
    num_views = 1
    has_parameters = False

    encoder: RawPixels  # type: ignore[assignment]  # all that evaluations ask of an encoder

    def __init__(self, config: ModelConfig, settings: PixelsSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        self.config, self.settings = config, settings
        self.encoder = RawPixels(config.image_size)
