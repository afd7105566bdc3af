"""CAN: contrastive learning, masked reconstruction and noise prediction on two masked views (paper, Sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.config import ModelConfig
from can.fields import NotNegative, OneOf, Share
from can.methods.contrastive import Contrastive, ContrastiveSettings
from can.methods.method import Batch, Loss, Metrics, Shown, floats, ints, rows_of
from can.methods.shown import Picture, in_place, masked_and_filled
from can.models import Decoder, NoiseLevel, ProjectionHead
from can.views import num_visible, patchify, random_order, random_sigma, shuffle


@dataclass(frozen=True)
class CANSettings(ContrastiveSettings):
    """Masking, noise, and the weights of the three losses (paper, Sec. 3.1-3.5)."""

    name: str = field(default="can", init=False)
    mask_rate: Share = 0.5  # share of patches hidden from the encoder; at 0 (Figure 7) the reconstruction is 0
    lambda_infonce: Share = 0.03  # of InfoNCE in the loss
    lambda_reconstruct: Share = 0.7  # lambda of Sec. 3.5: share of the reconstruction in what InfoNCE leaves
    norm_pix: bool = False  # reconstruct per-patch normalised pixels (He et al.)
    # The clean view, or the view after Sec. 3.4 overwrote it.
    reconstruct_target: Annotated[str, OneOf(("clean", "noisy"))] = "clean"
    sigma_max: NotNegative = 0.05  # noise level ~ U(0, sigma_max), in units of normalised pixels; 0 switches noise off
    denoise_loss: bool = True  # whether noise is predicted; Table 1's "+noise" has noise without it
    # What denoising's weight goes to if it is off; or it is "dropped".
    rest_without_denoise: Annotated[str, OneOf(("reconstruct", "dropped"))] = "reconstruct"
    sigma_embedding: bool = True  # whether the decoder is told the noise level (Table 1)
    denoise_target: Annotated[str, OneOf(("sigma_eps", "eps"))] = "sigma_eps"  # predicted: Eq. 3's sigma * e, or e
    sigma_scale: NotNegative = 1000.0  # the sinusoid's argument is sigma_scale * sigma / sigma_max; 0: sigma itself
    sigma_tokens: Annotated[str, OneOf(("all", "visible"))] = "all"  # of the decoder, told the noise level

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


class MaskedViews(NamedTuple):
    """Both views of each image, view by view; their patches in a random order, T' visible ones first."""

    visible: Float[Array, "rows visible patch_dim"]  # with noise
    order: Int[Array, "rows tokens"]  # where the patches stand in the image
    sigma: Float[Array, " rows"]  # noise levels
    target: Float[Array, "rows masked patch_dim"]  # of the reconstruction
    noise: Float[Array, "rows visible patch_dim"]  # of the denoising


class CAN(Contrastive):
    """Both views are masked, noised and encoded; pooled tokens are contrasted, all patches are decoded.

    Sec. 3.5: the loss is the weighted sum of InfoNCE (Eq. 1), reconstruction (Eq. 2) and denoising (Eq. 3).
    """

    name = "can"
    Settings = CANSettings
    settings: CANSettings

    def __init__(self, config: ModelConfig, settings: CANSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        self.num_visible = num_visible(config.num_patches, settings.mask_rate)
        self.add_noise = settings.sigma_max > 0
        self.tell_sigma = self.add_noise and settings.sigma_embedding
        # The raw sigma in [0, 0.05] would make a sinusoid that hardly changes: it is stretched to [0, sigma_scale].
        stretch = settings.sigma_scale / settings.sigma_max if self.add_noise and settings.sigma_scale else 1.0
        told = NoiseLevel(stretch, settings.sigma_tokens) if self.tell_sigma else None
        self.decoder = Decoder(config, noise_level=told, rngs=rngs)
        self.head = ProjectionHead(config, rngs=rngs)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> MaskedViews:
        """Masks (Sec. 3.1) and noise (Sec. 3.4) of both views."""
        x = patchify(rows_of(batch["views"]), self.config.patch_size)  # [2B, T, P]
        order_key, sigma_key, noise_key, target_key = jax.random.split(key, 4)

        order = random_order(order_key, *x.shape[:2])
        x = shuffle(x, order)
        visible, masked = x[:, : self.num_visible], x[:, self.num_visible :]

        sigma = random_sigma(sigma_key, len(x), self.settings.sigma_max)
        scale = sigma[:, None, None]
        target, e = masked, jax.random.normal(noise_key, visible.shape)
        if self.add_noise:
            visible = visible + scale * e
            if self.settings.reconstruct_target == "noisy":
                target = masked + scale * jax.random.normal(target_key, masked.shape)
        noise = scale * e if self.settings.denoise_target == "sigma_eps" else e
        return MaskedViews(visible, order, sigma, target, noise)

    def predict(
        self,
        visible: Float[Array, "rows visible patch_dim"],
        order: Int[Array, "rows tokens"],
        sigma: Float[Array, " rows"],
    ) -> tuple[Float[Array, "rows encoded width"], Float[Array, "rows tokens patch_dim"]]:
        """z, the encoder's tokens (Sec. 3.1), and the decoder's prediction of all patches, visible ones first."""
        z = self.encoder(visible, order[:, : visible.shape[1]])
        return z, self.decoder(z, order, sigma if self.tell_sigma else None)

    def each_image(self, views: MaskedViews) -> tuple[Float[Array, "rows width"], Metrics]:
        """Pooled tokens for the projection head, Eq. 2 and Eq. 3."""
        z, predicted = self.predict(views.visible, views.order, views.sigma)
        x_hat, noise_hat = predicted[:, self.num_visible :], predicted[:, : self.num_visible]
        reconstruct = objectives.reconstruction(views.target, x_hat, self.settings.norm_pix)
        denoise = objectives.denoising(views.noise, noise_hat) if self.settings.denoises else jnp.zeros(())
        return self.encoder.pool(z), {"reconstruct": reconstruct, "denoise": denoise}

    def whole_batch(self, pooled: Float[Array, "rows width"], means: Metrics) -> Loss:
        """Eq. 1, and the sum of Sec. 3.5."""
        u = self.project(pooled)  # [2, B, r]
        infonce = objectives.info_nce(u, self.settings.temperature, self.settings.infonce_reduction)
        return self.total(infonce, means), {"infonce": infonce}

    def total(self, infonce: Float[Array, ""], means: Metrics) -> Float[Array, ""]:
        """The weighted sum of the three losses (Sec. 3.5)."""
        weights, reconstruct, denoise = self.settings.weights, means["reconstruct"], means["denoise"]
        loss = weights.infonce * infonce + (weights.reconstruct * reconstruct + weights.denoise * denoise)
        return loss

    def comparable_losses(self, shown: Shown) -> Metrics:
        """All three, as far as the settings have them."""
        found = super().comparable_losses(shown)
        clean, rows = shown.shuffled[:, : shown.visible], len(shown.shuffled)
        if not self.settings.norm_pix and shown.visible < shown.order.shape[1]:
            _, predicted = self.predict(clean, shown.order, jnp.zeros(rows))
            masked = shown.shuffled[:, shown.visible :]
            found["reconstruct"] = objectives.reconstruction(masked, predicted[:, shown.visible :])
        if self.settings.denoises:
            sigma_key, e_key = jax.random.split(shown.noise_key)
            sigma = random_sigma(sigma_key, rows, self.settings.sigma_max)
            e = jax.random.normal(e_key, clean.shape)
            noise = sigma[:, None, None] * e
            _, predicted = self.predict(clean + noise, shown.order, sigma)
            target = noise if self.settings.denoise_target == "sigma_eps" else e
            found["denoise"] = objectives.denoising(target, predicted[:, : shown.visible])
        return found

    def shows(self, patches: Float[Array, "rows tokens patch_dim"], key: PRNGKeyArray) -> list[Picture]:
        """The visible patches, the reconstruction, and the noise, true and predicted, at its loudest."""
        order_key, noise_key = jax.random.split(key)
        order = random_order(order_key, *patches.shape[:2])
        visible, level = shuffle(patches, order[:, : self.num_visible]), self.settings.sigma_max
        e = jax.random.normal(noise_key, visible.shape)
        noisy = visible + level * e
        _, predicted = self.predict(noisy, order, jnp.full(len(patches), level))
        x_hat, noise_hat = predicted[:, self.num_visible :], predicted[:, : self.num_visible]
        found = masked_and_filled(patches, noisy, order, x_hat, norm_pix=self.settings.norm_pix)
        if not self.settings.denoises:
            return found
        in_levels = noise_hat / level if self.settings.denoise_target == "sigma_eps" else noise_hat
        for title, noise in (("noise that\nwas added", e), ("predicted\nnoise", in_levels)):
            whole = jnp.concatenate([noise, jnp.zeros_like(x_hat)], axis=1)
            found.append(Picture(title, in_place(whole, order), found[0].hidden, is_noise=True))
        return found

    def calls(self, rows: int) -> dict[str, tuple[nnx.Module, tuple[Any, ...]]]:
        """Encoder, decoder and head."""
        config, visible = self.config, self.num_visible
        encoded = floats(rows, visible + config.cls_token, config.width)
        sigma = floats(rows) if self.tell_sigma else None
        return {
            "encoder": (self.encoder, (floats(rows, visible, config.patch_size**2 * 3), ints(rows, visible))),
            "decoder": (self.decoder, (encoded, ints(rows, config.num_patches), sigma)),
            "head": (self.head, (floats(rows, config.width),)),
        }
