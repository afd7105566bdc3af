"""The encoder, the decoder and the projection head, as flax.nnx modules."""

from flax import nnx

from can.config import ModelConfig
from can.models.decoder import Decoder, NoiseLevel
from can.models.heads import ProjectionHead
from can.models.public_vit import PublicViT, PublicViTConfig
from can.models.vit import ViT, model_config


def encoder_of(config: ModelConfig, *, rngs: nnx.Rngs) -> ViT:
    """A freshly initialised encoder of the kind that the configuration describes."""
    return PublicViT(config, rngs=rngs) if isinstance(config, PublicViTConfig) else ViT(config, rngs=rngs)


__all__ = [
    "Decoder",
    "NoiseLevel",
    "ProjectionHead",
    "PublicViT",
    "PublicViTConfig",
    "ViT",
    "encoder_of",
    "model_config",
]
