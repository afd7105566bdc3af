"""Eq. 1-3 of the paper against numpy written from the equations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from can import objectives


def unit_rows(shape, seed=0):
    u = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return jnp.asarray(u / np.linalg.norm(u, axis=-1, keepdims=True))


def info_nce_by_hand(u, temperature):
    """Eq. 1, literally: for each view v and image i, one positive and the two views of each other image."""
    _, n, _ = u.shape
    total, negatives_per_anchor = 0.0, set()
    for v in range(2):
        for i in range(n):
            positive = np.exp(u[0, i] @ u[1, i] / temperature)
            negatives = [np.exp(u[v, i] @ u[w, j] / temperature) for w in range(2) for j in range(n) if j != i]
            negatives_per_anchor.add(len(negatives))
            total -= np.log(positive / (positive + sum(negatives)))
    assert negatives_per_anchor == {2 * n - 2}
    return total / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("n", [2, 7])
def test_info_nce_is_equation_1(n, temperature):
    u = unit_rows((2, n, 5))
    np.testing.assert_allclose(
        objectives.info_nce(u, temperature), info_nce_by_hand(np.asarray(u, np.float64), temperature), rtol=1e-5
    )


def test_sum_reduction_is_the_sum_of_both_directions():
    u = unit_rows((2, 6, 5))
    np.testing.assert_allclose(objectives.info_nce(u, reduction="sum"), 2 * objectives.info_nce(u), rtol=1e-6)


@pytest.mark.parametrize("n", [2, 8, 4096])
def test_info_nce_of_indistinguishable_views_is_the_log_of_2n_minus_1(n):
    u = jnp.broadcast_to(jnp.array([0.6, 0.8]), (2, n, 2))
    np.testing.assert_allclose(objectives.info_nce(u), np.log(2 * n - 1), rtol=1e-5)


def test_info_nce_does_not_care_which_view_is_first_or_how_images_are_ordered():
    u = unit_rows((2, 6, 5))
    expected = objectives.info_nce(u)
    np.testing.assert_allclose(objectives.info_nce(u[::-1]), expected, rtol=1e-6)
    np.testing.assert_allclose(objectives.info_nce(u[:, jnp.array([3, 1, 5, 0, 2, 4])]), expected, rtol=1e-6)


def test_info_nce_has_finite_gradients_when_views_coincide():
    u = jnp.tile(unit_rows((1, 4, 5)), (2, 1, 1))
    assert jnp.isfinite(jax.grad(objectives.info_nce)(u)).all()


def test_info_nce_refuses_a_single_image():
    with pytest.raises(ValueError, match="at least 2 images"):
        objectives.info_nce(unit_rows((2, 1, 5)))


def test_reconstruction_is_equation_2_as_a_mean_over_masked_pixels():
    rng = np.random.default_rng(0)
    images, predicted = rng.normal(size=(2, 3, 8, 12)).astype(np.float32)  # [B, T, P]
    mask = np.zeros((3, 8), bool)
    mask[:, 2:7] = True
    residual = mask[:, :, None] * (images - predicted)
    by_hand = sum(np.sum(residual[i] ** 2) for i in range(3)) / (3 * 5 * 12)
    ours = objectives.reconstruction(*(jnp.asarray(x[mask].reshape(3, 5, 12)) for x in (images, predicted)))
    np.testing.assert_allclose(ours, by_hand, rtol=1e-6)


def test_norm_pix_targets_have_each_patch_mean_0_and_unbiased_variance_1():
    rng = np.random.default_rng(0)
    masked, predicted = rng.normal(3, 2, size=(2, 4, 5, 12)).astype(np.float32)
    mean, std = masked.mean(-1, keepdims=True), np.sqrt(masked.var(-1, ddof=1, keepdims=True) + 1e-6)
    by_hand = np.mean(((masked - mean) / std - predicted) ** 2)
    ours = objectives.reconstruction(jnp.asarray(masked), jnp.asarray(predicted), norm_pix=True)
    np.testing.assert_allclose(ours, by_hand, rtol=1e-5)


def test_denoising_is_equation_3_as_a_mean_over_visible_pixels():
    rng = np.random.default_rng(0)
    e, predicted = rng.normal(size=(2, 4, 5, 12)).astype(np.float32)
    sigma = rng.uniform(0, 0.05, size=4).astype(np.float32)
    by_hand = np.mean([(sigma[i] * e[i] - predicted[i]) ** 2 for i in range(4)])
    ours = objectives.denoising(jnp.asarray(sigma[:, None, None] * e), jnp.asarray(predicted))
    np.testing.assert_allclose(ours, by_hand, rtol=1e-6)


def test_the_papers_weights():
    """lambda_infonce .03 and lambda .7, as the authors' later code has them: .03, .97 * .7, .97 * .3."""
    weights = objectives.weights(0.03, 0.7)
    np.testing.assert_allclose(weights, (0.03, 0.97 * 0.7, 0.97 * 0.3))
    assert sum(weights) == pytest.approx(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_optax(smoothing):
    rng = np.random.default_rng(0)
    logits, labels = jnp.asarray(rng.normal(size=(6, 4)).astype(np.float32)), jnp.asarray(rng.integers(0, 4, 6))
    targets = optax.smooth_labels(jax.nn.one_hot(labels, 4), smoothing)
    expected = optax.softmax_cross_entropy(logits, targets).mean()
    np.testing.assert_allclose(objectives.cross_entropy(logits, labels, smoothing), expected, rtol=1e-6)
