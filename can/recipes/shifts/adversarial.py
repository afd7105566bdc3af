"""`adversarial`: the test images that an independently trained small classifier gets wrong, unchanged.

The rule of natural adversarial examples (Hendrycks et al., 2021): the filter is a classifier that has nothing in common
with the models under test, here two dense layers on raw pixels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from can.data.image_set import ArrayImages, Images, Labels

HIDDEN = 128
EPOCHS = 6
BATCH_SIZE = 128
LEARNING_RATE = 1e-3  # of Adam, falling to 0 along a cosine

Params = dict[str, Array]


def mistaken(train: ArrayImages, images: Images, labels: Labels, seed: int) -> Int[np.ndarray, " wrong"]:
    """The numbers of the `images` that the classifier, trained on `train`, does not give their label, in order.

    Deterministic on one machine; another one's rounding may move a few images, and the set's fingerprint tells.
    """
    assert train.labels is not None and train.num_classes is not None
    params = _train(np.asarray(train.images), train.labels, train.num_classes, seed)
    predict = jax.jit(lambda batch: jnp.argmax(_logits(params, batch), axis=-1))
    found = np.concatenate(
        [predict(jnp.asarray(images[start : start + 1000])) for start in range(0, len(images), 1000)]
    )
    return np.flatnonzero(found != labels)


def _logits(params: Params, images: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch classes"]:
    pixels = images.reshape(len(images), -1) / 255 - 0.5
    hidden = jax.nn.relu(pixels @ params["w1"] + params["b1"])
    return hidden @ params["w2"] + params["b2"]


def _train(images: Images, labels: Labels, num_classes: int, seed: int) -> Params:
    key_1, key_2 = jax.random.split(jax.random.key(seed))
    inputs = int(np.prod(images.shape[1:]))
    he = jax.nn.initializers.he_normal()
    params = {
        "w1": he(key_1, (inputs, HIDDEN)),
        "b1": jnp.zeros(HIDDEN),
        "w2": he(key_2, (HIDDEN, num_classes)),
        "b2": jnp.zeros(num_classes),
    }
    batch_size = min(BATCH_SIZE, len(images))
    steps_per_epoch = len(images) // batch_size
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, EPOCHS * steps_per_epoch))
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params: Params, opt_state: optax.OptState, batch: Array, label: Array) -> tuple[Params, optax.OptState]:
        def loss(params: Params) -> Array:
            return optax.softmax_cross_entropy_with_integer_labels(_logits(params, batch), label).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        return optax.apply_updates(params, updates), opt_state

    rng = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, steps_per_epoch * batch_size, batch_size):
            chosen = order[start : start + batch_size]
            params, opt_state = step(params, opt_state, images[chosen], labels[chosen])
    return params
