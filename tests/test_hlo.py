"""What is read out of a compiled program's text, on small programs whose operations are counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from experiments.benchmarks.hlo import collectives

LOOP = """HloModule made_up

%body (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %r = f32[8,4]{1,0} all-reduce(%x), replica_groups={{0,1,2,3}}, to_apply=%add
  %g = (f32[16]{0}, bf16[8]{0}) all-gather(%y, %z), replica_groups=[2,4]<=[8], dimensions={0}
}

%other (p: f32[8]) -> f32[8] {
  %c = f32[8]{0} collective-permute(%p), source_target_pairs={{0,1},{1,0}}
}

ENTRY %main (p: f32[8,4]) -> f32[8,4] {
  %w = (s32[], f32[8,4]) while(%t), condition=%end, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %k = f32[8]{0} call(%v), to_apply=%other
  %s = f32[2]{0} reduce-scatter(%q), replica_groups={{0,1}}, dimensions={0}, to_apply=%add
}
"""


def test_operations_in_a_loop_count_as_often_as_it_is_passed() -> None:
    found = collectives(LOOP)
    assert found["all-reduce"] == (3, 3 * 2 * (8 * 4 * 4) * 3 / 4)
    assert found["all-gather"] == (3, 3 * (16 * 4 + 8 * 2) * 3 / 4)
    assert found["collective-permute"] == (1, 32)
    assert found["reduce-scatter"] == (1, 2 * 4 * 2 / 2)  # 16 bytes go in
    assert "all-to-all" not in found


@pytest.mark.parametrize(
    ("groups", "devices"),
    [
        ("{{0,1,2,3},{4,5,6,7}}", 4),
        ("[2,4]<=[8]", 4),
        ("mesh['axis_0'=8,'axis_1'=1] {'axis_0'}", 8),
        ("mesh['axis_0'=2,'axis_1'=4] {'axis_0','axis_1'}", 8),
        ("mesh['axis_0'=8] {'axis_0':(2)4}", 4),
    ],
)
def test_groups_of_devices_are_read_in_each_way_they_are_written(groups: str, devices: int) -> None:
    program = LOOP.replace("replica_groups={{0,1,2,3}}", f"replica_groups={groups}")
    assert collectives(program)["all-reduce"].bytes == 3 * 2 * (8 * 4 * 4) * (devices - 1) / devices


def test_a_loop_without_a_known_end_is_refused_if_it_has_operations() -> None:
    with pytest.raises(ValueError, match="the loop body has collective operations"):
        collectives(LOOP.replace(', backend_config={"known_trip_count":{"n":"3"}}', ""))


SUM_ON_EIGHT_DEVICES = """
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P
from can.sharding import AXES, make_mesh
from experiments.benchmarks.hlo import collectives

def total(x):  # of rows on eight devices, five times: a loop that XLA keeps
    return jax.lax.fori_loop(0, 5, lambda i, y: jnp.sin(y + (x * y).sum(0)), jnp.zeros(1000))

rows = NamedSharding(make_mesh(), P(AXES))
program = jax.jit(total, in_shardings=rows, out_shardings=NamedSharding(make_mesh(), P()))
print(collectives(program.lower(jax.ShapeDtypeStruct((64, 1000), jnp.float32)).compile().as_text()))
"""


def test_a_program_of_todays_xla_is_read(run_python: Callable[..., Any]) -> None:
    expected = f"{{'all-reduce': Sent(operations=5, bytes={5 * 2 * 4000 * 7 / 8})}}"
    assert run_python(SUM_ON_EIGHT_DEVICES, devices=8).stdout.strip() == expected
