"""CAN: contrastive learning, masked reconstruction and noise prediction on two masked views (paper, Sec. 3)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.config import MethodConfig, ModelConfig
from can.methods.contrastive import Contrastive
from can.methods.method import Batch, Inputs, Loss, rows_of
from can.models import Decoder, ProjectionHead
from can.views import num_visible, patchify, random_order, random_sigma, shuffle


class CAN(Contrastive):
    """Both views are masked, noised and encoded; pooled tokens are contrasted, all patches are decoded.

    Sec. 3.5: the loss is the weighted sum of InfoNCE (Eq. 1), reconstruction (Eq. 2) and denoising (Eq. 3).
    """

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        self.num_visible = num_visible(model.num_patches, method.mask_rate)
        self.add_noise = method.sigma_max > 0
        self.tell_sigma = self.add_noise and method.sigma_embedding
        self.weights = objectives.weights(method.lambda_infonce, method.lambda_reconstruct)
        self.decoder = Decoder(model, sigma=method if self.tell_sigma else None, rngs=rngs)
        self.head = ProjectionHead(model, rngs=rngs)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Inputs:
        """Both views' patches in a random order, the visible ones with noise, and what the decoder has to predict."""
        config = self.method
        patches = patchify(rows_of(batch["views"]), self.model.patch_size)  # [2B, T, P]
        order_key, sigma_key, noise_key, target_key = jax.random.split(key, 4)

        order = random_order(order_key, *patches.shape[:2])
        shuffled = shuffle(patches, order)
        visible, masked = shuffled[:, : self.num_visible], shuffled[:, self.num_visible :]

        sigma = random_sigma(sigma_key, patches.shape[0], config.sigma_max)
        scale = sigma[:, None, None]
        target, noise = masked, jax.random.normal(noise_key, visible.shape)
        if self.add_noise:
            visible = visible + scale * noise
            if config.reconstruct_target == "noisy":
                target = masked + scale * jax.random.normal(target_key, masked.shape)
        if config.denoise_target == "sigma_eps":
            noise = scale * noise
        places = order[:, : self.num_visible]
        return dict(visible=visible, places=places, order=order, sigma=sigma, target=target, noise=noise)

    def image_loss(self, tokens: Float[Array, "rows encoded width"], inputs: Inputs) -> Loss:
        """Eq. 2 and 3, weighted."""
        config = self.method
        predicted = self.decoder(tokens, inputs["order"], inputs["sigma"] if self.tell_sigma else None)  # [2B, T, P]
        reconstruct = objectives.reconstruction(inputs["target"], predicted[:, self.num_visible :], config.norm_pix)
        denoise = jnp.zeros(())
        if self.add_noise and config.denoise_loss:
            denoise = objectives.denoising(inputs["noise"], predicted[:, : self.num_visible])
        loss = self.weights.reconstruct * reconstruct + self.weights.denoise * denoise
        return loss, {"reconstruct": reconstruct, "denoise": denoise}

    def batch_loss(self, pooled: Float[Array, "rows width"]) -> Loss:
        """Eq. 1, weighted."""
        infonce, metrics = super().batch_loss(pooled)
        return self.weights.infonce * infonce, metrics
