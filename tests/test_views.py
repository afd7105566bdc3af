"""Patches, masks and noise levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from can.errors import ConfigError
from can.views import num_visible, patchify, random_order, random_sigma, shuffle, unpatchify


def test_shapes_in_signatures_are_checked_while_the_tests_run():
    with pytest.raises(TypeCheckError):
        patchify(jnp.zeros((2, 4, 6)), 2)


def test_patches_are_cut_row_by_row_and_flattened_as_row_column_channel():
    images = jnp.arange(2 * 4 * 6 * 3, dtype=jnp.float32).reshape(2, 4, 6, 3)
    patches = patchify(images, 2)
    assert patches.shape == (2, 6, 12)
    for token, (row, column) in enumerate((r, c) for r in range(2) for c in range(3)):
        expected = images[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].reshape(2, -1)
        np.testing.assert_array_equal(patches[:, token], expected)


def test_unpatchify_is_the_inverse():
    images = jax.random.normal(jax.random.key(0), (3, 12, 12, 3))
    np.testing.assert_array_equal(unpatchify(patchify(images, 4), 4), images)


@pytest.mark.parametrize(
    ("tokens", "rate", "visible"), [(196, 0.5, 98), (196, 0.75, 49), (10, 0.7, 3), (49, 0.5, 24), (16, 0, 16)]
)
def test_the_number_of_visible_patches(tokens, rate, visible):
    assert num_visible(tokens, rate) == visible


@pytest.mark.parametrize("rate", [0.99, 1.0])
def test_a_mask_that_keeps_none_is_refused_with_the_range_that_works(rate):
    with pytest.raises(ConfigError, match=r"--mask_rate between 0 and 0.938"):
        num_visible(16, rate)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31 - 1))
def test_every_order_is_a_permutation(seed):
    order = random_order(jax.random.key(seed), 4, 9)
    np.testing.assert_array_equal(jnp.sort(order, axis=1), jnp.tile(jnp.arange(9), (4, 1)))


def test_masks_are_independent_per_image_and_every_patch_is_as_likely():
    order = np.asarray(random_order(jax.random.key(0), 4000, 8))
    visible = np.zeros((4000, 8), bool)
    np.put_along_axis(visible, order[:, :4], True, axis=1)
    assert (visible.sum(axis=1) == 4).all()
    assert len(np.unique(order, axis=0)) > 3000  # of 8! = 40320 orders
    np.testing.assert_allclose(visible.mean(axis=0), 0.5, atol=4 * 0.5 / 4000**0.5)
    # Two patches of an image share 4/8 * 3/7 of the masks; neighbours in the batch share no more than chance.
    np.testing.assert_allclose((visible[:, 0] & visible[:, 5]).mean(), 3 / 14, atol=0.03)
    np.testing.assert_allclose((visible[:-1, 0] & visible[1:, 0]).mean(), 1 / 4, atol=0.03)


def test_shuffle_puts_patches_into_the_order():
    patches = jax.random.normal(jax.random.key(0), (3, 5, 2))
    order = random_order(jax.random.key(1), 3, 5)
    for image in range(3):
        np.testing.assert_array_equal(shuffle(patches, order)[image], patches[image][np.asarray(order[image])])


def test_noise_levels_are_uniform_up_to_sigma_max():
    sigma = np.asarray(random_sigma(jax.random.key(0), 20000, 0.05))
    assert sigma.min() >= 0 and sigma.max() < 0.05
    np.testing.assert_allclose(np.quantile(sigma, [0.25, 0.5, 0.75]), [0.0125, 0.025, 0.0375], atol=0.001)
