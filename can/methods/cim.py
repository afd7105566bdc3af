"""CIM: a generator repaints the image with sampled tokens, and the encoder restores it, or finds what was replaced."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.config import ModelConfig
from can.errors import ConfigError
from can.fields import Count, Depth, NotNegative, OneOf, Share
from can.methods.method import Batch, Loss, Metrics, floats, rows_of
from can.methods.tokens import TokenMethod, TokenSettings
from can.models import ViT
from can.models.transformer import dense
from can.tokeniser import Codebook
from can.views import hidden_of, patchify, shuffle, unpatchify


@dataclass(frozen=True)
class CIMSettings(TokenSettings):
    """Generator and enhancer (Fang et al., 2022)."""

    name: str = field(default="cim", init=False)
    mask_rate: Share = 110 / 196
    generator_depth: Depth = 6  # blocks of the generator
    # What the encoder learns: the original's pixels, or which patches the generator changed.
    enhancer: Annotated[str, OneOf(("respix", "revdet"))] = "respix"
    # What pixels are normalised by: those around each, or those of its patch.
    normalise: Annotated[str, OneOf(("window", "patch"))] = "window"
    window: Count = 8  # pixels a side of what is around each
    revdet_weight: NotNegative = 10.0  # of finding replaced patches in the loss; restoring pixels has 1


class DrawnView(NamedTuple):
    """All patches of each image, an order, T' visible ones first, all tokens in their places, and a key a row."""

    patches: Float[Array, "rows tokens patch_dim"]
    order: Int[Array, "rows tokens"]
    tokens: Int[Array, "rows tokens"]
    keys: PRNGKeyArray  # of what is drawn from the generator's predictions


class CIM(TokenMethod):
    """The generator is a small BEiT, trained beside the encoder; no gradient passes the sampling."""

    name = "cim"
    Settings = CIMSettings
    augmentation = "mae"
    settings: CIMSettings

    def __init__(self, config: ModelConfig, settings: CIMSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs)
        if settings.tokeniser != "kmeans":
            raise ConfigError(
                "cim paints what tokens stand for, which a random projection does not say: pass --tokeniser=kmeans"
            )
        if settings.window > config.image_size:
            raise ConfigError(f"window {settings.window} is larger than the image of {config.image_size} pixels")
        self.generator = ViT(dataclasses.replace(config, depth=settings.generator_depth), rngs=rngs)
        self.mask_token = nnx.Param(nnx.initializers.truncated_normal(0.02)(rngs.params(), (config.width,)))
        self.predict_token = dense(config.width, settings.codes, dtype=config.dtype, rngs=rngs)
        out = config.patch_size**2 * 3 if settings.enhancer == "respix" else 1
        self.predict = dense(config.width, out, dtype=config.dtype, rngs=rngs)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> DrawnView:
        """The patches of a view, masked in blocks, and all their tokens."""
        mask_key, sample_key = jax.random.split(key)
        patches = patchify(rows_of(batch["views"]), self.config.patch_size)
        rows = len(patches)
        order, keys = self.order(mask_key, rows), jax.random.split(sample_key, rows)
        return DrawnView(patches, order, self.codebook.encode(patches), keys)

    def each_image(self, view: DrawnView) -> tuple[None, Metrics]:
        """The generator's loss and the encoder's."""
        cls, places = int(self.config.cls_token), view.order[:, self.num_visible :]
        rows, hidden = jnp.arange(len(places))[:, None], hidden_of(view.order, self.num_visible)
        encoded = self.generator(view.patches, hidden=hidden, mask_token=self.mask_token[...])[:, cls:]
        logits = self.predict_token(shuffle(encoded, places)).astype(jnp.float32)
        sampled = jax.vmap(jax.random.categorical)(view.keys, jax.lax.stop_gradient(logits))  # [B, T - T']
        painted = view.tokens.at[rows, places].set(sampled)
        replaced, truth = painted != view.tokens, view.tokens[rows, places]
        predicted = self.predict(self.encoder(self.painting(painted))[:, cls:]).astype(jnp.float32)
        means = {
            "token": objectives.token_prediction(logits, truth),
            "accuracy": objectives.hit_rate(logits, truth),
            "replaced": jnp.mean(replaced),
        }
        if self.settings.enhancer == "respix":
            return None, means | {"reconstruct": self.restoring(view.patches, predicted)}
        detected = predicted[..., 0]
        means["detect_accuracy"] = jnp.mean((detected > 0) == replaced)
        return None, means | {"detect": objectives.replaced_detection(detected, replaced)}

    def whole_batch(self, features: None, means: Metrics) -> Loss:
        """The weighted sum."""
        if self.settings.enhancer == "revdet":
            return means["token"] + self.settings.revdet_weight * means["detect"], {}
        return means["token"] + means["reconstruct"], {}

    def painting(self, tokens: Int[Array, "rows tokens"]) -> Float[Array, "rows tokens patch_dim"]:
        """The patches that all tokens stand for, the visible ones' too: else their sharpness would tell them apart."""
        book = self.codebook
        assert isinstance(book, Codebook)
        return book.decode(tokens)

    def restoring(
        self, patches: Float[Array, "rows tokens patch_dim"], predicted: Float[Array, "rows tokens patch_dim"]
    ) -> Float[Array, ""]:
        """ResPix: squared error of all pixels against the normalised original."""
        if self.settings.normalise == "patch":
            return objectives.reconstruction(patches, predicted, norm_pix=True)
        images = unpatchify(patches, self.config.patch_size)
        target = patchify(objectives.window_normalised(images, self.settings.window), self.config.patch_size)
        return objectives.reconstruction(target, predicted)

    def calls(self, rows: int) -> dict[str, tuple[nnx.Module, tuple[Any, ...]]]:
        """Generator and encoder, both of whole views."""
        whole = floats(rows, self.config.num_patches, self.config.patch_size**2 * 3)
        return {"generator": (self.generator, (whole,)), "encoder": (self.encoder, (whole,))}
