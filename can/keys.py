"""Randomness by purpose: what a run draws for one purpose tells nothing of what it draws for another.

Each key or seed is a function of the run's seed and of the purpose's name alone, whatever else is drawn, or was.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import jax
from jaxtyping import PRNGKeyArray

Purpose = Literal[
    "initialisation",
    "preparation",  # of what a method makes of its images before the first step
    "order",  # of the images, and their crops where the host makes them
    "training",  # augmentation, masks and noise; dropped branches
    "probe classifier",
    "probe order",
    "probe augmentation",
    "finetuning classifier",
    "finetuning order",
    "finetuning",
    "few-shot choice",
    "few-shot order",
    "final losses augmentation",
    "final losses masks",
    "final losses noise",
    "pictures views",
    "pictures masks",
    "pictures noise",
    "show",
]


def key(seed: int, purpose: Purpose) -> PRNGKeyArray:
    """The key of a purpose, to be split or folded further by those who draw."""
    return jax.random.fold_in(jax.random.key(seed), _hash(purpose))


def int_seed(seed: int, purpose: Purpose, *indices: int) -> int:
    """The seed of a purpose for numpy and grain, in [0, 2**32); `indices` tell apart what it is drawn for."""
    return _hash(f"{purpose} {seed} {' '.join(map(str, indices))}")


def _hash(text: str) -> int:
    """The same on every machine and in every process, unlike Python's own."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
