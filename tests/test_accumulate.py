"""A batch encoded in parts gives the gradients of the whole one, with its negatives and statistics, in less memory."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_train import REPOSITORY, tiny_config

from can import training_step
from can.config import OptimConfig
from can.errors import ConfigError
from can.gradients import gradients
from can.methods import settings_class
from can.methods.kinds import split_method
from can.run_flops import module_flops, step_flops

KEY = jax.random.key(5)
SETTINGS = [  # as many random draws as a method can have
    ("can", dict(sigma_max=0.5, reconstruct_target="noisy")),
    ("can", dict(mask_rate=0.0)),
    ("simclr", dict(mask_rate=0.5)),
    ("mae", dict(mask_rate=0.75)),
]


@pytest.fixture(scope="module", params=SETTINGS)
def method(request):
    name, settings = request.param
    config = dataclasses.replace(tiny_config(), method=settings_class(name)(**settings))
    return training_step.new_method(config)


def relative_error(found, expected):
    found, expected = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(x)]) for x in (found, expected))
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def test_gradients_metrics_and_statistics_of_four_parts_are_those_of_the_whole(method):
    graphdef, params, batch_stats = split_method(method)
    views = jax.random.normal(jax.random.key(1), (method.num_views, 8, 14, 14, 3))
    batch = {"views": views}
    whole, parts = (
        jax.jit(partial(gradients, graphdef, parts=parts))(params, batch_stats, batch, KEY) for parts in (1, 4)
    )
    assert relative_error(parts[0], whole[0]) < 1e-5
    for found, expected in zip(jax.tree.leaves(parts), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for found, start in zip(jax.tree.leaves(parts[2]), jax.tree.leaves(batch_stats), strict=True):
        assert np.abs(found - start).max() > 1e-4  # the statistics moved


ON_EIGHT_DEVICES = """
import sys
from functools import partial
import jax, jax.numpy as jnp, numpy as np
sys.path.insert(0, {tests!r})
from test_train import tiny_config
from can import training_step
from can.gradients import gradients
from can.sharding import AXES, make_mesh, state_sharding

graphdef, state = training_step.init_state(tiny_config("can"))

def in_parts(mesh):
    def found(*operands):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return gradients(graphdef, *operands, parts=2)

    shards = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, AXES))
    return jax.jit(found, in_shardings=(state_sharding(state.params, mesh), None, {{"views": shards}}, None))

def temporaries(mesh):
    views = jax.ShapeDtypeStruct((2, 512, 14, 14, 3), jnp.float32)
    program = in_parts(mesh).lower(state.params, state.batch_stats, {{"views": views}}, jax.random.key(2)).compile()
    return program.memory_analysis().temp_size_in_bytes

views = jax.random.normal(jax.random.key(1), (2, 32, 14, 14, 3))
operands = state.params, state.batch_stats, {{"views": views}}, jax.random.key(2)
expected = jax.tree.leaves(jax.jit(partial(gradients, graphdef))(*operands))
found = jax.tree.leaves(in_parts(make_mesh(fsdp=4))(*operands))
for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)

one = jax.sharding.Mesh(np.array(jax.devices()[:1]).reshape(1, 1), AXES)
alone, shared = temporaries(one), temporaries(make_mesh())
print(shared, alone)
assert shared < alone / 5, (shared, alone)
"""


def test_on_eight_devices_gradients_are_the_same_and_each_device_keeps_its_own_images(run_python):
    """The temporaries of a device are near an eighth: no device computes what belongs to another."""
    run_python(ON_EIGHT_DEVICES.format(tests=str(REPOSITORY / "tests")), devices=8)


def test_parts_save_memory():
    graphdef, *state = split_method(training_step.new_method(tiny_config("can")))
    batch = {"views": jax.ShapeDtypeStruct((2, 512, 14, 14, 3), jnp.float32)}

    def temporaries(parts):
        program = jax.jit(partial(gradients, graphdef, parts=parts)).lower(*state, batch, KEY).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temporaries(8) < temporaries(1) / 2


def test_the_price_of_parts_is_one_more_forward_pass_of_the_encoder_and_nothing_without_negatives():
    def flops(method, parts):
        return step_flops(tiny_config(method, accumulate=parts)).matmul

    encoder = module_flops(tiny_config("can"))["encoder"].matmul
    assert flops("can", 4) - flops("can", 1) == pytest.approx(encoder, rel=0.01)
    assert flops("mae", 4) == pytest.approx(flops("mae", 1), rel=0.001)


@pytest.mark.parametrize("method", ["supervised", "pyramid_at"])
def test_a_method_that_needs_its_batch_in_one_piece_refuses_parts(method):
    with pytest.raises(ConfigError, match=f"{method} needs its batch in one piece"):
        training_step.new_method(tiny_config(method, accumulate=2), num_classes=3)


@pytest.mark.parametrize(
    ("parts", "why"), [(0, "accumulate must lie in"), (3, "accumulate 3 does not divide batch_size 16")]
)
def test_parts_that_do_not_divide_the_batch_are_refused(parts, why):
    with pytest.raises(ConfigError, match=why):
        OptimConfig(base_lr=1, weight_decay=0, batch_size=16, total_steps=1, warmup_steps=0, accumulate=parts)
