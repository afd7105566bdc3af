"""CAN: contrastive learning, masked reconstruction and noise prediction on two masked views (paper, Sec. 3)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.config import MethodConfig, ModelConfig
from can.methods.method import Batch, Method, Metrics
from can.models import Decoder, ProjectionHead
from can.views import num_visible, patchify, random_order, random_sigma, shuffle


class CAN(Method):
    """Both views are masked, noised and encoded; pooled tokens are contrasted, all patches are decoded."""

    num_views = 2
    min_batch = 2

    def __init__(self, model: ModelConfig, method: MethodConfig, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        self.num_visible = num_visible(model.num_patches, method.mask_rate)
        self.add_noise = method.sigma_max > 0
        self.tell_sigma = self.add_noise and method.sigma_embedding
        self.decoder = Decoder(model, sigma=method if self.tell_sigma else None, rngs=rngs)
        self.head = ProjectionHead(model, rngs=rngs)

    def loss(self, batch: Batch, key: PRNGKeyArray) -> tuple[Float[Array, ""], Metrics]:
        """Sec. 3.5: the weighted sum of InfoNCE (Eq. 1), reconstruction (Eq. 2) and denoising (Eq. 3)."""
        config = self.method
        views, images = batch["views"].shape[:2]
        patches = patchify(batch["views"].reshape(-1, *batch["views"].shape[2:]), self.model.patch_size)  # [2B, T, P]
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

        encoded = self.encoder(visible, order[:, : self.num_visible])  # [2B, T', D]
        predicted = self.decoder(encoded, order, sigma if self.tell_sigma else None)  # [2B, T, P]
        u = self.head(self.encoder.pool(encoded))  # [2B, r]

        weights = objectives.weights(config.lambda_infonce, config.lambda_reconstruct)
        infonce = objectives.info_nce(u.reshape(views, images, -1), config.temperature, config.infonce_reduction)
        reconstruct = objectives.reconstruction(target, predicted[:, self.num_visible :], config.norm_pix)
        denoise = jnp.zeros(())
        if self.add_noise and config.denoise_loss:
            denoise = objectives.denoising(noise, predicted[:, : self.num_visible])
        loss = weights.infonce * infonce + weights.reconstruct * reconstruct + weights.denoise * denoise
        return loss, {"loss": loss, "infonce": infonce, "reconstruct": reconstruct, "denoise": denoise}
