"""Codebooks: k-means against scikit-learn's, whitening, random projections, and what cannot be clustered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from can.errors import ConfigError
from can.tokeniser import codebook, kmeans, means_of, nearest, random_projection, spread_codes, whitening

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
# Patches around 30 centres, whose dimensions have very different variances.
CENTRES = RNG.normal(size=(30, 12)) * np.geomspace(0.05, 3, 12)
PATCHES = (CENTRES[RNG.integers(0, 30, 3000)] + 0.1 * RNG.normal(size=(3000, 12))).astype(np.float32)


def test_kmeans_equals_scikit_learns_after_the_same_rounds():
    start = PATCHES[:8]
    for rounds in (1, 25):
        theirs = KMeans(8, init=start, n_init=1, max_iter=rounds, tol=0, algorithm="lloyd").fit(PATCHES)
        codes, tokens = kmeans(KEY, jnp.asarray(PATCHES), jnp.asarray(start), rounds)
        np.testing.assert_allclose(codes, theirs.cluster_centers_, atol=2e-5)
        np.testing.assert_array_equal(tokens, theirs.labels_)


def test_a_code_that_is_nearest_to_nothing_is_put_upon_a_point():
    start = jnp.concatenate([jnp.asarray(PATCHES[:3]), jnp.full((1, 12), 1e3)])
    codes, _ = kmeans(KEY, jnp.asarray(PATCHES), start, 1)
    assert min(np.abs(PATCHES - np.asarray(codes[3])).max(axis=1)) == 0
    assert len(np.unique(kmeans(KEY, jnp.asarray(PATCHES), start, 10)[1])) == 4
    np.testing.assert_allclose(means_of(jnp.ones((3, 2)), jnp.zeros(3, int), jnp.full((2, 2), 7.0)), [[1, 1], [7, 7]])


def test_the_first_codes_are_far_apart():
    """k-means++ finds all of ten distant heaps; drawn at random, some heap has two codes and another none."""
    heaps = jnp.asarray(np.repeat(np.eye(10) * 100, 50, axis=0) + 0.1 * RNG.normal(size=(500, 10)), jnp.float32)
    for seed in range(2):
        chosen = spread_codes(jax.random.key(seed), heaps, 10)
        assert len(np.unique(np.argmax(chosen, axis=1))) == 10
    assert len({tuple(np.asarray(spread_codes(jax.random.key(seed), heaps, 1))[0]) for seed in range(4)}) == 4


def test_whitened_patches_have_variances_of_1_but_for_what_is_nearly_none():
    mean, whitener = whitening(jnp.asarray(PATCHES))
    np.testing.assert_allclose(mean, PATCHES.mean(axis=0), atol=1e-6)
    covariance = np.cov((PATCHES - PATCHES.mean(axis=0)) @ np.asarray(whitener), rowvar=False, bias=True)
    variances = np.linalg.eigvalsh(np.cov(PATCHES, rowvar=False, bias=True))
    expected = variances / (variances + 0.1 * variances.mean())
    np.testing.assert_allclose(covariance, np.diag(expected), atol=1e-5)
    assert expected.min() < 0.1
    assert expected.max() > 0.95


def test_a_codebook_names_the_nearest_whitened_code_and_paints_its_mean_patch():
    book = codebook(KEY, jnp.asarray(PATCHES), 30)
    whitened = (PATCHES - np.asarray(book.mean)) @ np.asarray(book.whitener)
    distances = ((whitened[:, None] - np.asarray(book.codes)) ** 2).sum(axis=2)
    tokens = np.asarray(book.encode(jnp.asarray(PATCHES)))
    np.testing.assert_array_equal(tokens, distances.argmin(axis=1))
    for token in (0, 7):
        np.testing.assert_allclose(book.decode(jnp.array(token)), PATCHES[tokens == token].mean(axis=0), atol=1e-5)
    error = ((PATCHES - np.asarray(book.decode(jnp.asarray(tokens)))) ** 2).mean()
    assert error < 0.2 * PATCHES.var(axis=0).mean()
    again = codebook(KEY, jnp.asarray(PATCHES), 30)
    assert all(np.array_equal(a, b) for a, b in zip(book, again, strict=True))
    assert not np.array_equal(book.codes, codebook(jax.random.key(1), jnp.asarray(PATCHES), 30).codes)


def test_a_random_projection_does_not_see_brightness_and_contrast():
    tokeniser = random_projection(KEY, 12, 64)
    patches = jnp.asarray(PATCHES[:200])
    tokens = tokeniser.encode(patches)
    np.testing.assert_array_equal(tokeniser.encode(3 * patches + 2), tokens)
    normed = (PATCHES[:200] - PATCHES[:200].mean(1, keepdims=True)) / PATCHES[:200].std(1, keepdims=True)
    projected = normed @ np.asarray(tokeniser.projection)
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    nearest_by_hand = ((projected[:, None] - np.asarray(tokeniser.codes)) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(tokens, nearest_by_hand)
    assert len(np.unique(tokens)) > 20
    np.testing.assert_allclose(np.var(tokeniser.projection), 2 / (12 + 16), rtol=0.3)


def test_nearest_keeps_the_rows_shape():
    points = jnp.asarray(PATCHES[:24]).reshape(2, 3, 4, 12)
    np.testing.assert_array_equal(nearest(points, jnp.asarray(PATCHES[:24])), np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize("codes", [0, 1, 41])
def test_fewer_than_two_codes_or_more_than_patches_are_refused(codes):
    with pytest.raises(ConfigError, match=f"needs 2 to 40 codes, not {codes}"):
        codebook(KEY, jnp.asarray(PATCHES[:40]), codes)
