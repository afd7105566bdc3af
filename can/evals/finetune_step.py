"""What finetuning trains, and its training step: augmentation, loss and update in one jitted function (Table 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from can.augment import augment, normalize
from can.augment.mixup import mix
from can.augment.rand_augment import rand_augment
from can.augment.random_erase import random_erase
from can.augment.timm_policy import timm_rand_augment
from can.config import AugmentConfig, FinetuneConfig, OptimConfig
from can.models import ViT
from can.models.transformer import layer_norm
from can.objectives import smoothed_targets, soft_cross_entropy
from can.optim import adamw, descend, layer_decay_scales
from can.sharding import gathered

INIT_STDDEV = 2e-5  # of the classifier's weights, before truncation (He et al., 2022)


class FinetunedViT(nnx.Module):
    """An encoder and a linear classifier on its pooled tokens; see `FinetuneConfig.norm_after_pool`."""

    def __init__(self, encoder: ViT, num_classes: int, *, norm_after_pool: bool = False, rngs: nnx.Rngs):
        self.encoder = encoder
        self.norm_after_pool = norm_after_pool
        if norm_after_pool:
            self.norm = layer_norm(encoder.config.width, dtype="float32", rngs=rngs)
        init = nnx.initializers.truncated_normal(INIT_STDDEV)
        self.head = nnx.Linear(encoder.config.width, num_classes, kernel_init=init, rngs=rngs)

    def logits(
        self,
        images: Float[Array, "batch size size 3"],
        *,
        drop_path: float = 0.0,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "batch classes"]:
        """The logits of normalised images."""
        features = self.encoder.features(images, drop_path=drop_path, key=key, final_norm=not self.norm_after_pool)
        return self.head(self.norm(features) if self.norm_after_pool else features)


class FinetuneState(NamedTuple):
    """What a training step changes, and a checkpoint holds."""

    step: Array
    params: nnx.State
    opt_state: optax.OptState


def resolve_optim(config: FinetuneConfig, num_images: int) -> tuple[OptimConfig, int]:
    """The optimiser's settings for `num_images` training images, and the number of steps of an epoch.

    A batch is never larger than the training set; an epoch has no ragged last batch. Raises ConfigError for a
    warm-up longer than the training.
    """
    batch_size = min(config.batch_size, num_images)
    steps_per_epoch = num_images // batch_size
    optim = OptimConfig(
        base_lr=config.base_lr,
        weight_decay=config.weight_decay,
        batch_size=batch_size,
        total_steps=max(1, round(config.epochs * steps_per_epoch)),
        warmup_steps=round(config.warmup_epochs * steps_per_epoch),
        beta1=config.beta1,
        beta2=config.beta2,
        max_steps=config.max_steps,
    )
    return optim, steps_per_epoch


def make_train_step(
    graphdef: nnx.GraphDef, config: FinetuneConfig, optim: OptimConfig, image_size: int, num_classes: int
) -> Callable[..., tuple[FinetuneState, dict[str, Array]]]:
    """The update: `(state, batch of uint8 images and labels, learning_rate, key) -> (state, metrics)`.

    The metrics are the `loss` and the `grad_norm`, the global norm of its gradient.
    """
    optimizer = adamw(optim)
    crops = AugmentConfig(name="mae", crop_area_min=config.crop_area_min)

    def train_step(
        state: FinetuneState, batch: dict[str, Array], learning_rate: Float[Array, ""], key: PRNGKeyArray
    ) -> tuple[FinetuneState, dict[str, Array]]:
        keys = jax.random.split(jax.random.fold_in(key, state.step), 5)
        views = augment(keys[0], batch["image"], crops, image_size=image_size, views=1)[0]
        layers, magnitude = config.rand_augment_layers, config.rand_augment_magnitude
        if layers and config.rand_augment_policy == "timm":
            views = timm_rand_augment(keys[1], views, layers, magnitude, config.rand_augment_std)
        elif layers:
            views = rand_augment(keys[1], views, layers, magnitude)
        views = normalize(views)
        if config.erase_prob:
            views = random_erase(keys[2], views, config.erase_prob)
        targets = smoothed_targets(batch["label"], num_classes, config.label_smoothing)
        views, targets = mix(keys[3], views, targets, config.mixup, config.cutmix, config.mix_share_of)

        def loss_fn(params: nnx.State) -> Array:
            model = nnx.merge(graphdef, params)
            return soft_cross_entropy(model.logits(views, drop_path=config.drop_path, key=keys[4]), targets)

        loss, grads = jax.value_and_grad(loss_fn)(gathered(state.params))
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        depth = nnx.merge(graphdef, state.params).encoder.config.depth
        scales = layer_decay_scales(state.params, config.layer_decay, depth)
        params = descend(state.params, jax.tree.map(jnp.multiply, updates, scales), learning_rate)
        metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
        return FinetuneState(state.step + 1, params, opt_state), metrics

    return train_step
