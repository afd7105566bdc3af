"""The losses of the masked-image methods, values and gradients, against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from can import objectives

torch = pytest.importorskip("torch")
F = torch.nn.functional
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(2, 4, 5, 12)).astype(np.float32)
TOKENS = RNG.integers(0, 12, (4, 5))
REPLACED = RNG.random((4, 5)) < 0.4

CASES = {
    "masked_pixels": (lambda x: objectives.masked_pixels(jnp.asarray(B), x), lambda x: F.l1_loss(x, torch.tensor(B))),
    "token_prediction": (
        lambda x: objectives.token_prediction(x, jnp.asarray(TOKENS)),
        lambda x: F.cross_entropy(x.flatten(0, 1), torch.tensor(TOKENS).flatten()),
    ),
    "alignment": (lambda x: objectives.alignment(x, jnp.asarray(B)), lambda x: F.mse_loss(x, torch.tensor(B))),
    "replaced_detection": (
        lambda x: objectives.replaced_detection(x[..., 0], jnp.asarray(REPLACED)),
        lambda x: F.binary_cross_entropy_with_logits(x[..., 0], torch.tensor(REPLACED, dtype=torch.float32)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_and_its_gradient_are_pytorchs(name):
    ours, theirs = CASES[name]
    value, gradient = jax.value_and_grad(ours)(jnp.asarray(A))
    tensor = torch.tensor(A, requires_grad=True)
    expected = theirs(tensor)
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient, tensor.grad, atol=1e-7)
    assert np.abs(gradient).max() > 1e-3


def test_no_gradient_reaches_what_is_aligned_with():
    assert not np.any(jax.grad(objectives.alignment, argnums=1)(jnp.asarray(A), jnp.asarray(B)))


def test_pixels_are_normalised_in_a_sliding_window():
    """Against the window of each pixel, cut out of the mirrored image; the values are of mean 0 and deviation 1."""
    images = (3 + 2 * RNG.normal(size=(2, 6, 6, 3))).astype(np.float32)
    padded = np.pad(images, ((0, 0), (2, 1), (2, 1), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), axis=(1, 2))
    expected = (images - windows.mean((-1, -2))) / np.sqrt(windows.var((-1, -2)) + 1e-6)
    np.testing.assert_allclose(objectives.window_normalised(jnp.asarray(images), 4), expected, atol=1e-4)


def test_the_share_of_hits_and_the_number_of_codes_in_use():
    logits = jnp.eye(4)[jnp.array([[0, 1, 2, 2]])]
    assert objectives.hit_rate(logits, jnp.array([[0, 1, 2, 3]])) == 0.75
    np.testing.assert_allclose(objectives.perplexity(jnp.array([[5, 5], [1, 1]]), 8), 2, rtol=1e-6)
    np.testing.assert_allclose(objectives.perplexity(jnp.array([3, 3, 3]), 8), 1, rtol=1e-6)
