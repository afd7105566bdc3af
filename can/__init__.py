"""CAN: a simple, efficient and scalable contrastive masked autoencoder (Mishra, Robinson et al., 2022), in JAX.

import can
encoder = can.load_encoder("exported")  # a folder of experiments/export.py, or public weights of a plain ViT
features = encoder(images)  # uint8 [B, size, size, 3] -> float32 [B, D]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from can.evals.encoder import Encoder


def load_encoder(path: str, *, batch_size: int = 256) -> Encoder:
    """The frozen encoder in a folder; see `can.weights.own.load_encoder`, which is imported only now."""
    from can.weights import own

    return own.load_encoder(path, batch_size=batch_size)
