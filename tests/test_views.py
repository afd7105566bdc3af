"""Patches, masks and noise levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from can.errors import ConfigError
from can.views import (
    block_order,
    hidden_of,
    num_visible,
    patchify,
    random_order,
    random_sigma,
    shuffle,
    unit_order,
    unpatchify,
)


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


def test_units_of_patches_are_masked_together():
    hidden = np.asarray(hidden_of(unit_order(jax.random.key(0), 500, 36, 2), 12)).reshape(500, 3, 2, 3, 2)
    units = hidden.any(axis=(2, 4))
    np.testing.assert_array_equal(units, hidden.all(axis=(2, 4)))
    assert (units.sum(axis=(1, 2)) == 6).all()
    np.testing.assert_allclose(units.mean(axis=0), 6 / 9, atol=0.1)  # each unit as often as any other
    with pytest.raises(ConfigError, match="units of 2x2 patches do not divide the 5x5"):
        unit_order(jax.random.key(0), 1, 25, 2)


def blocks_of_the_paper(side, masked, least, rng):
    """Bao et al. (2022), Algorithm 1, as their code has it."""
    mask = np.zeros((side, side), bool)
    while (left := masked - mask.sum()) > 0:
        for _ in range(10):
            area = least + (left - least) * rng.uniform()
            ratio = np.exp(rng.uniform(np.log(0.3), -np.log(0.3)))
            height, width = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if height < side and width < side:
                top, start = rng.integers(0, side - height + 1), rng.integers(0, side - width + 1)
                new = ~mask[top : top + height, start : start + width]
                if 0 < new.sum() <= left:
                    mask[top : top + height, start : start + width] = True
                    break
        else:
            break  # it may stop short
    return mask


@pytest.mark.parametrize(("side", "masked", "least"), [(14, 75, 16), (6, 14, 3), (8, 32, 5)])
def test_masked_blocks_are_those_of_the_papers_algorithm_but_for_their_exact_number(side, masked, least):
    """How many masked neighbours a masked patch has, and how often a patch of the edge or the centre is masked."""
    rng, images = np.random.default_rng(0), 600
    theirs = np.stack([blocks_of_the_paper(side, masked, least, rng) for _ in range(images)])
    order = block_order(jax.random.key(0), images, side**2, masked, least)
    assert (np.sort(order, axis=1) == np.arange(side**2)).all()
    ours = np.asarray(hidden_of(order, side**2 - masked)).reshape(theirs.shape)
    assert (ours.sum(axis=(1, 2)) == masked).all()
    edge = np.ones((side, side), bool)
    edge[1:-1, 1:-1] = False

    def neighbours(masks):
        padded = np.pad(masks, ((0, 0), (1, 1), (1, 1))).astype(int)
        around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
        return around[masks].mean()

    by_chance = hidden_of(random_order(jax.random.key(1), images, side**2), side**2 - masked)
    assert neighbours(np.asarray(by_chance).reshape(theirs.shape)) < neighbours(theirs) - 0.9
    np.testing.assert_allclose(neighbours(ours), neighbours(theirs), atol=0.05)
    np.testing.assert_allclose(ours[:, edge].mean(), theirs[:, edge].mean(), atol=0.03)
    assert ours[:, ~edge].mean() > ours[:, edge].mean() + 0.15
