"""CAN: contrastive learning, masked reconstruction and noise prediction on two masked views (paper, Sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can import objectives
from can.config import ModelConfig
from can.fields import NotNegative, OneOf, Share
from can.methods.contrastive import Contrastive, ContrastiveSettings
from can.methods.method import Batch, Inputs, Loss, rows_of
from can.models import Decoder, NoiseLevel, ProjectionHead
from can.views import num_visible, patchify, random_order, random_sigma, shuffle


@dataclass(frozen=True)
class CANSettings(ContrastiveSettings):
    """Masking, noise, and the weights of the three losses (paper, Sec. 3.1-3.5)."""

    name: str = field(default="can", init=False)
    mask_rate: Share = 0.5  # of patches, hidden from the encoder; at 0 (Figure 7) the reconstruction is 0
    lambda_infonce: Share = 0.03
    lambda_reconstruct: Share = 0.7  # lambda of Sec. 3.5: share of the reconstruction in what InfoNCE leaves
    norm_pix: bool = False  # reconstruct per-patch normalised pixels (He et al.)
    # The clean view, or the view after Sec. 3.4 overwrote it.
    reconstruct_target: Annotated[str, OneOf(("clean", "noisy"))] = "clean"
    sigma_max: NotNegative = 0.05  # noise level ~ U(0, sigma_max), in units of normalised pixels; 0 switches noise off
    denoise_loss: bool = True  # Table 1: "+noise" has the noise without the loss
    # What denoising's weight goes to if it is off; or it is "dropped".
    rest_without_denoise: Annotated[str, OneOf(("reconstruct", "dropped"))] = "reconstruct"
    sigma_embedding: bool = True  # Table 1: "+noise, +loss" has the loss without the noise level
    denoise_target: Annotated[str, OneOf(("sigma_eps", "eps"))] = "sigma_eps"  # Eq. 3's sigma * e, or e
    sigma_scale: NotNegative = 1000.0  # the sinusoid's argument is sigma_scale * sigma / sigma_max; 0: sigma itself
    sigma_tokens: Annotated[str, OneOf(("all", "visible"))] = "all"  # of the decoder, that get the noise embedding

    @property
    def denoises(self) -> bool:
        """Whether there is noise, and a loss of it."""
        return self.sigma_max > 0 and self.denoise_loss

    @property
    def weights(self) -> objectives.Weights:
        """Sec. 3.5. Without a denoising loss they sum to 1 all the same, unless its weight is dropped."""
        weights = objectives.weights(self.lambda_infonce, self.lambda_reconstruct)
        if self.denoises:
            return weights
        more = weights.denoise if self.rest_without_denoise == "reconstruct" else 0.0
        return weights._replace(reconstruct=weights.reconstruct + more, denoise=0.0)


class CAN(Contrastive):
    """Both views are masked, noised and encoded; pooled tokens are contrasted, all patches are decoded.

    Sec. 3.5: the loss is the weighted sum of InfoNCE (Eq. 1), reconstruction (Eq. 2) and denoising (Eq. 3).
    """

    name = "can"
    Settings = CANSettings
    method: CANSettings

    def __init__(self, model: ModelConfig, method: CANSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(model, method, rngs=rngs)
        self.num_visible = num_visible(model.num_patches, method.mask_rate)
        self.add_noise = method.sigma_max > 0
        self.tell_sigma = self.add_noise and method.sigma_embedding
        self.weights = method.weights
        # The raw sigma in [0, 0.05] would make a sinusoid that hardly changes: it is stretched to [0, sigma_scale].
        stretch = method.sigma_scale / method.sigma_max if self.add_noise and method.sigma_scale else 1.0
        told = NoiseLevel(stretch, method.sigma_tokens) if self.tell_sigma else None
        self.decoder = Decoder(model, noise_level=told, rngs=rngs)
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
        if config.denoises:
            denoise = objectives.denoising(inputs["noise"], predicted[:, : self.num_visible])
        loss = self.weights.reconstruct * reconstruct + self.weights.denoise * denoise
        return loss, {"reconstruct": reconstruct, "denoise": denoise}

    def batch_loss(self, pooled: Float[Array, "rows width"]) -> Loss:
        """Eq. 1, weighted."""
        infonce, metrics = super().batch_loss(pooled)
        return self.weights.infonce * infonce, metrics
