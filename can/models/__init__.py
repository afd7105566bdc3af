"""The encoder, the decoder and the projection head, as flax.nnx modules."""

from collections.abc import Mapping
from typing import Any

from flax import nnx

from can.config import ModelConfig
from can.models.decoder import Decoder, NoiseLevel
from can.models.heads import ProjectionHead
from can.models.public_vit import PublicViT, PublicViTConfig
from can.models.vit import ViT, model_config


def encoder_of(config: ModelConfig, *, rngs: nnx.Rngs) -> ViT:
    """A freshly initialised encoder of the kind that the configuration describes."""
    return PublicViT(config, rngs=rngs) if isinstance(config, PublicViTConfig) else ViT(config, rngs=rngs)


def model_from(values: Mapping[str, Any]) -> ModelConfig:
    """The inverse of `dataclasses.asdict`, also of what JSON made of it: ours, or that of a public encoder.

    Raises TypeError for fields that this version does not know, ConfigError for values that cannot be.
    """
    if "prefix_tokens" not in values:
        return ModelConfig(**values)
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return PublicViTConfig(**fields)


__all__ = [
    "Decoder",
    "NoiseLevel",
    "ProjectionHead",
    "PublicViT",
    "PublicViTConfig",
    "ViT",
    "encoder_of",
    "model_config",
    "model_from",
]
