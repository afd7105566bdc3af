"""What BEiT, CAE and CIM predict: a patch's token, the nearest of a codebook's codes.

The codebook is made before the first step, of the run's own training images: k-means on whitened patches (Coates & Ng,
2012), in place of the dVAE whose weights are not to be had here. `RandomProjection` is the one of Chiu et al. (2022).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from can.errors import ConfigError

EPS = 0.1  # of the whitening, in mean variances of the patches' principal components
ROUNDS = 25  # of Lloyd's algorithm
PROJECTED = 16  # dimensions of a random projection

exact = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)  # a rounded product would change tokens


class Codebook(NamedTuple):
    """A codebook of k-means; every entry is an array, so that it can be kept in a checkpoint."""

    mean: Float[Array, " patch_dim"]
    whitener: Float[Array, "patch_dim patch_dim"]
    codes: Float[Array, "codes patch_dim"]  # of whitened patches
    patches: Float[Array, "codes patch_dim"]  # the mean, in pixels, of the patches of each code

    def encode(self, patches: Float[Array, "*rows patch_dim"]) -> Int[Array, "*rows"]:
        """The token of each patch: which code is nearest to it, whitened."""
        return nearest(exact(patches - self.mean, self.whitener), self.codes)

    def decode(self, tokens: Int[Array, "*rows"]) -> Float[Array, "*rows patch_dim"]:
        """The mean patch of each token."""
        return self.patches[tokens]


class RandomProjection(NamedTuple):
    """Patches of mean 0 and variance 1, projected at random, and random codes of which the nearest by angle counts."""

    projection: Float[Array, "patch_dim projected"]
    codes: Float[Array, "codes projected"]  # of length 1

    def encode(self, patches: Float[Array, "*rows patch_dim"]) -> Int[Array, "*rows"]:
        """The token of each patch."""
        centred = patches - jnp.mean(patches, axis=-1, keepdims=True)
        normed = centred / jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
        return jnp.argmax(exact(exact(normed, self.projection), self.codes.T), axis=-1)


def nearest(points: Float[Array, "*rows width"], codes: Float[Array, "codes width"]) -> Int[Array, "*rows"]:
    """Which code is nearest to each point, by Euclidean distance."""
    return jnp.argmax(exact(points, codes.T) - 0.5 * jnp.sum(codes**2, axis=-1), axis=-1)


def random_projection(key: PRNGKeyArray, patch_dim: int, codes: int) -> RandomProjection:
    """A projection and codes drawn at random (Chiu et al., 2022)."""
    projection_key, codes_key = jax.random.split(key)
    projection = jax.nn.initializers.xavier_normal()(projection_key, (patch_dim, PROJECTED))
    drawn = jax.random.normal(codes_key, (codes, PROJECTED))
    return RandomProjection(projection, drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True))


@partial(jax.jit, static_argnums=2)
def codebook(key: PRNGKeyArray, patches: Float[Array, "n patch_dim"], codes: int) -> Codebook:
    """Clusters the patches. Equal keys and patches give equal codebooks.

    Raises ConfigError for fewer than 2 codes, which would leave nothing to predict, or more codes than patches.
    """
    if not 2 <= codes <= len(patches):
        raise ConfigError(f"a codebook of {len(patches)} patches needs 2 to {len(patches)} codes, not {codes}")
    start_key, empty_key = jax.random.split(key)
    mean, whitener = whitening(patches)
    points = exact(patches - mean, whitener)
    found, tokens = kmeans(empty_key, points, spread_codes(start_key, points, codes))
    return Codebook(mean, whitener, found, means_of(patches, tokens, found @ jnp.linalg.inv(whitener) + mean))


def whitening(
    patches: Float[Array, "n patch_dim"],
) -> tuple[Float[Array, " patch_dim"], Float[Array, "patch_dim patch_dim"]]:
    """The patches' mean, and what brings their principal components to variance 1, those of variance below EPS less."""
    mean = jnp.mean(patches, axis=0)
    centred = patches - mean
    variances, components = jnp.linalg.eigh(exact(centred.T, centred) / len(patches))
    variances = jnp.maximum(variances, 0)
    return mean, components / jnp.sqrt(variances + EPS * jnp.mean(variances))


def spread_codes(key: PRNGKeyArray, points: Float[Array, "n width"], codes: int) -> Float[Array, "codes width"]:
    """k-means++ (Arthur & Vassilvitskii, 2007): each code is a point, drawn by its squared distance to those before."""
    keys = jax.random.split(key, codes)

    def add(index: Int[Array, ""], kept: tuple[Array, Array]) -> tuple[Array, Array]:
        chosen, distances = kept
        # By Gumbel noise: of equal points, no distance of which is above 0, any is drawn.
        place = jax.random.categorical(keys[index], jnp.log(jnp.maximum(distances, 1e-30)))
        chosen = chosen.at[index].set(points[place])
        return chosen, jnp.minimum(distances, jnp.sum((points - points[place]) ** 2, axis=1))

    start = jnp.zeros((codes, points.shape[1])), jnp.full(len(points), 1e30)
    return jax.lax.fori_loop(0, codes, add, start)[0]


def kmeans(
    key: PRNGKeyArray, points: Float[Array, "n width"], start: Float[Array, "codes width"], rounds: int = ROUNDS
) -> tuple[Float[Array, "codes width"], Int[Array, " n"]]:
    """Lloyd's algorithm from `start`: the codes after so many rounds, and each point's.

    A code that is nearest to no point is put upon one drawn at random.
    """

    def improve(codes: Float[Array, "codes width"], key: PRNGKeyArray) -> tuple[Float[Array, "codes width"], None]:
        drawn = jax.random.randint(key, (len(codes),), 0, len(points))
        return means_of(points, nearest(points, codes), points[drawn]), None

    codes, _ = jax.lax.scan(improve, start, jax.random.split(key, rounds))
    return codes, nearest(points, codes)


def means_of(
    points: Float[Array, "n width"], tokens: Int[Array, " n"], where_empty: Float[Array, "codes width"]
) -> Float[Array, "codes width"]:
    """The mean of each token's points; where a token has none, what stands in `where_empty`."""
    # A product, whose result is the same in every run: sums over indices are not, on a GPU.
    of_token = jax.nn.one_hot(tokens, len(where_empty), axis=0)
    counts = jnp.sum(of_token, axis=1, keepdims=True)
    return jnp.where(counts > 0, exact(of_token, points) / jnp.maximum(counts, 1), where_empty)
