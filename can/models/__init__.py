"""The encoder, the decoder and the projection head, as flax.nnx modules."""

from can.models.decoder import Decoder
from can.models.heads import ProjectionHead
from can.models.vit import ViT, model_config

__all__ = ["Decoder", "ProjectionHead", "ViT", "model_config"]
