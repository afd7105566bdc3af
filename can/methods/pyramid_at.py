"""PyramidAT: adversarial training with perturbations of several resolutions (Herrmann et al., 2022).

Figure 10 of the paper compares CAN's robustness with it. Each step attacks the model that is being trained and learns
from the clean and the attacked images alike. The same entries (dropout) and branches (stochastic depth) are dropped in
the attack and in both forward passes: the authors' "matched" dropout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can import objectives
from can.augment import IMAGENET_MEAN, IMAGENET_STD, normalize
from can.config import ModelConfig
from can.errors import ConfigError
from can.fields import CountOrZero, NotNegative
from can.methods.method import Batch, Loss, Metrics
from can.methods.supervised import Supervised, SupervisedSettings, accuracy

MULTIPLIERS = (20.0, 10.0, 1.0)  # of the perturbation of half the patch grid, of the patch grid, of the pixels

Pyramid = tuple[Float[Array, "batch _ _ 3"], ...]  # a level: as many values as it has pixels


@dataclass(frozen=True)
class PyramidATSettings(SupervisedSettings):
    """The settings of supervised training, and of the attack."""

    name: str = field(default="pyramid_at", init=False)
    attack_epsilon: NotNegative = 6 / 255  # largest perturbation of a level by the attack, in pixel values of [0, 1]
    attack_step: NotNegative = 1 / 255  # size of each sign-gradient step of the attack
    attack_steps: CountOrZero = 5  # of the attack


class Attacked(NamedTuple):
    """One view of each image, mixed with another's, and what is drawn for it."""

    views: Float[Array, "batch size size 3"]
    targets: Float[Array, "batch classes"]  # smoothed, mixed
    drop_key: PRNGKeyArray  # of what is dropped, in the attack and in both forward passes
    target_key: PRNGKeyArray  # of the classes that the attack aims at


class PyramidAT(Supervised):
    """Supervised training whose loss is that of the clean images plus that of their attacked selves."""

    name = "pyramid_at"
    Settings = PyramidATSettings
    settings: PyramidATSettings

    def __init__(self, config: ModelConfig, settings: PyramidATSettings, *, rngs: nnx.Rngs, num_classes: int = 0):
        super().__init__(config, settings, rngs=rngs, num_classes=num_classes)
        self.levels = pyramid_levels(config)

    def inputs(self, batch: Batch, key: PRNGKeyArray) -> Attacked:  # type: ignore[override]
        """The mixed images and labels of supervised training, and the attack's keys."""
        mix_key, drop_key, target_key = jax.random.split(key, 3)
        return Attacked(*self.mixed(batch, mix_key), drop_key, target_key)

    def each_image(self, given: Attacked) -> tuple[None, Metrics]:  # type: ignore[override]
        """Both cross-entropies, with the same targets and the same dropped entries and branches."""
        attacked = self.attack(given.views, given.drop_key, given.target_key)
        clean_logits, attacked_logits = self.logits(given.views, given.drop_key), self.logits(attacked, given.drop_key)
        clean = objectives.soft_cross_entropy(clean_logits, given.targets)
        adversarial = objectives.soft_cross_entropy(attacked_logits, given.targets)
        return None, {"clean": clean, "adversarial": adversarial, "accuracy": accuracy(clean_logits, given.targets)}

    def whole_batch(self, features: None, means: Metrics) -> Loss:
        """Their sum."""
        return means["clean"] + means["adversarial"], {}

    def attack(
        self, views: Float[Array, "batch size size 3"], drop_key: PRNGKeyArray, target_key: PRNGKeyArray
    ) -> Float[Array, "batch size size 3"]:
        """The normalised views after `attack_steps` sign-gradient steps towards random classes, from no perturbation.

        No gradient flows through it to the parameters.
        """
        # Cut off before the steps, not after them, or JAX would carry second derivatives along.
        graphdef, state = nnx.split(self)
        model = nnx.merge(graphdef, jax.lax.stop_gradient(state))
        views = jax.lax.stop_gradient(views)
        goal: Int[Array, " batch"] = jax.random.randint(target_key, (len(views),), 0, self.num_classes)
        epsilon, size = self.settings.attack_epsilon, self.settings.attack_step

        def distance(pyramid: Pyramid) -> Array:
            return objectives.cross_entropy(model.logits(perturbed(views, pyramid), drop_key), goal)

        def step(_: Int[Array, ""], pyramid: Pyramid) -> Pyramid:
            gradients = jax.grad(distance)(pyramid)
            return jax.tree.map(lambda d, g: jnp.clip(d - size * jnp.sign(g), -epsilon, epsilon), pyramid, gradients)

        flat = tuple(jnp.zeros((len(views), level, level, 3)) for level in self.levels)
        return perturbed(views, jax.lax.fori_loop(0, self.settings.attack_steps, step, flat))


def pyramid_levels(model: ModelConfig) -> tuple[int, int, int]:
    """Pixels a side of each level: half the patch grid, the patch grid, the image; 7, 14 and 224 for ViT-B/16 at 224.

    Raises ConfigError for an odd patch grid, which has no half.
    """
    grid = model.image_size // model.patch_size
    if grid % 2:
        raise ConfigError(
            f"pyramid_at halves the patch grid, which is {grid} x {grid}: pass an --image_size that is "
            f"a multiple of {2 * model.patch_size}"
        )
    return grid // 2, grid, model.image_size


def perturbed(views: Float[Array, "batch size size 3"], pyramid: Pyramid) -> Float[Array, "batch size size 3"]:
    """Normalised views plus every level, enlarged to blocks and multiplied, as pixels clipped to [0, 1]."""
    # Clipped before and after: a black pixel that comes back as -1e-8 would have no gradient to follow.
    pixels = jnp.clip(views * jnp.array(IMAGENET_STD) + jnp.array(IMAGENET_MEAN), 0, 1)
    for multiplier, level in zip(MULTIPLIERS, pyramid, strict=True):
        block = views.shape[1] // level.shape[1]
        pixels += multiplier * jnp.repeat(jnp.repeat(level, block, axis=1), block, axis=2)
    return normalize(jnp.clip(pixels, 0, 1))
