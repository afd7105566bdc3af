"""The encoder, the decoder and the projection head, as flax.nnx modules."""

from can.models.decoder import Decoder, NoiseLevel
from can.models.heads import ProjectionHead
from can.models.vit import ViT, model_config

__all__ = ["Decoder", "NoiseLevel", "ProjectionHead", "ViT", "model_config"]
