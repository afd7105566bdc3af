"""Randomness by purpose."""

from itertools import product
from typing import get_args

import jax

from can import keys

PURPOSES = get_args(keys.Purpose)


def test_every_purpose_and_seed_has_a_key_and_a_seed_of_its_own():
    pairs = list(product(range(3), PURPOSES))
    drawn = {tuple(jax.random.key_data(keys.key(seed, purpose)).tolist()) for seed, purpose in pairs}
    assert len(drawn) == len(pairs)
    seeds = {keys.int_seed(seed, purpose) for seed, purpose in pairs}
    assert len(seeds) == len(pairs)
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert len({keys.int_seed(0, "few-shot order", index) for index in range(100)}) == 100


def test_keys_are_the_same_in_every_process(run_python):
    """Python's own hash of a text is another in each process."""
    code = (
        "from can import keys; import jax; print(jax.random.key_data(keys.key(7, 'order')), keys.int_seed(7, 'order'))"
    )
    here = f"{jax.random.key_data(keys.key(7, 'order'))} {keys.int_seed(7, 'order')}"
    assert run_python(code, env={"PYTHONHASHSEED": "1"}).stdout.strip() == here
