"""Mixup and CutMix: who is mixed with whom, by how much, and that the targets say so."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from can.augment.mixup import blend, mix, paste
from can.objectives import cross_entropy, smoothed_targets, soft_cross_entropy

BATCH = 400
IMAGES = jnp.broadcast_to(jnp.arange(BATCH, dtype=jnp.float32)[:, None, None, None], (BATCH, 12, 16, 3))
TARGETS = jnp.eye(BATCH)  # a class an image, so that a target tells what it was mixed of
KEY = jax.random.key(0)
OTHER = np.arange(BATCH)[::-1]


def test_mixup_weighs_the_other_image_as_its_target_says():
    images, targets = blend(KEY, IMAGES, TARGETS, 0.8)
    share = np.diag(targets)
    np.testing.assert_allclose(share + np.asarray(targets)[np.arange(BATCH), OTHER], 1, atol=1e-6)
    expected = share * np.arange(BATCH) + (1 - share) * OTHER
    np.testing.assert_allclose(images, np.broadcast_to(expected[:, None, None, None], images.shape), atol=1e-3)
    np.testing.assert_array_equal(share, share[::-1])  # one share a pair
    assert stats.kstest(share[: BATCH // 2], "beta", (0.8, 0.8)).pvalue > 0.01


def test_cutmix_pastes_a_box_of_the_other_image_and_counts_its_pixels():
    images, targets = paste(*jax.random.split(KEY), IMAGES, TARGETS, 1.0)
    pasted = np.asarray(images == OTHER[:, None, None, None]).all(axis=-1)
    kept = np.asarray(images == np.arange(BATCH)[:, None, None, None]).all(axis=-1)
    np.testing.assert_array_equal(kept, ~pasted)
    np.testing.assert_allclose(np.diag(targets), kept.mean(axis=(1, 2)), atol=1e-6)
    for mask in pasted:
        np.testing.assert_array_equal(mask, mask.any(axis=1)[:, None] & mask.any(axis=0)[None])
    # Alpha 1 makes the share uniform; boxes that reach over the edge lose part of their half.
    assert 0.2 < pasted.mean() < 0.45


def test_one_of_the_two_is_taken_for_a_whole_batch_by_a_fair_coin():
    mixer = jax.jit(partial(mix, mixup=0.8, cutmix=1.0))
    own = np.arange(8.0)
    blended = 0
    for seed in range(40):
        images, targets = (np.asarray(x) for x in mixer(jax.random.key(seed), IMAGES[:8], jnp.eye(8)))
        share, pixels = np.diag(targets), images[..., 0]
        if (pixels == pixels[:, :1, :1]).all():  # each image of one value: a mean of two
            np.testing.assert_allclose(pixels[:, 0, 0], share * own + (1 - share) * own[::-1], atol=1e-5)
            blended += 1
        else:  # each pixel is one image's or the other's
            kept = pixels == own[:, None, None]
            assert (kept | (pixels == own[::-1, None, None])).all()
            np.testing.assert_allclose(share, kept.mean(axis=(1, 2)), atol=1e-6)
    assert 8 < blended < 32


def test_with_both_off_nothing_is_mixed():
    images, targets = mix(KEY, IMAGES, TARGETS, 0.0, 0.0)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(targets, TARGETS)


def test_the_cross_entropy_of_soft_targets_is_numpys():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)).astype(np.float32), np.array([0, 1, 2, 3, 0, 1])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = np.full((6, 4), 0.1 / 4)
    target[np.arange(6), labels] += 0.9
    smoothed = smoothed_targets(jnp.asarray(labels), 4, 0.1)
    np.testing.assert_allclose(smoothed, target, atol=1e-7)
    expected = -(target * log_p).sum(axis=1).mean()
    np.testing.assert_allclose(soft_cross_entropy(jnp.asarray(logits), smoothed), expected, rtol=1e-6)
    np.testing.assert_allclose(cross_entropy(jnp.asarray(logits), jnp.asarray(labels), 0.1), expected, rtol=1e-6)


def test_mixing_a_pair_weighs_its_two_losses():
    """The cross-entropy is linear in its target, so mixed targets cost the mean of both labels' losses."""
    logits = jnp.asarray(nnx.initializers.normal(1.0)(KEY, (2, 2)))
    images = jnp.zeros((2, 4, 4, 3))
    _, targets = blend(KEY, images, jnp.eye(2), 0.8)
    share = float(targets[0, 0])
    both = [float(cross_entropy(logits, jnp.array(labels))) for labels in ([0, 1], [1, 0])]
    assert float(soft_cross_entropy(logits, targets)) == pytest.approx(
        share * both[0] + (1 - share) * both[1], rel=1e-5
    )


@pytest.mark.parametrize("alphas", [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_a_batch_can_share_one_share_and_one_box_as_in_timm(alphas):
    shares = []
    for seed in range(6):
        images, targets = mix(jax.random.key(seed), IMAGES, TARGETS, *alphas, "batch")
        share = np.diag(targets)
        np.testing.assert_allclose(share, share[0], atol=1e-6)
        own = np.isclose(np.asarray(images), np.arange(BATCH)[:, None, None, None])
        np.testing.assert_array_equal(own[: BATCH // 4], np.broadcast_to(own[:1], own[: BATCH // 4].shape))
        shares.append(share[0])
    assert len(set(np.round(shares, 4))) > 1
