"""What of the surroundings changes numbers is fixed, or a part of what a run is."""

from __future__ import annotations

from pathlib import Path

import jax
import pytest

from can.errors import ConfigError
from can.runs import numerics
from can.system import surroundings


def test_settings_of_jax_that_make_other_numbers_are_left_out_and_told() -> None:
    """JAX_ENABLE_X64=1 made other losses, and neither config nor provenance said so."""
    environ = {"JAX_ENABLE_X64": "True", "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_DISABLE_JIT": "off", "HOME": "/x"}
    assert surroundings.fix(environ) == ["JAX_ENABLE_X64=True", "JAX_DEFAULT_PRNG_IMPL=rbg"]
    assert environ == {"HOME": "/x"} | surroundings.FIXED
    assert surroundings.fix(environ) == []
    for name in surroundings.FIXED:
        assert hasattr(jax.config, name.lower())  # JAX would not say that a variable means nothing to it


def test_what_is_fixed_is_what_jax_has_by_itself(run_python) -> None:
    """Numbers of runs that were made before stay as they are; a script has them whatever the user has set."""
    program = "import jax; from can.runs.numerics import method_of_numbers as found; print(found())"
    bare = {name: "" for name in surroundings.FIXED}
    assert run_python(f"import os; [os.environ.pop(name) for name in {[*bare]}]; {program}").stdout.strip() == "{}"
    others = {"JAX_ENABLE_X64": "1", "JAX_THREEFRY_PARTITIONABLE": "0", "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    done = run_python(f"import experiments.harness.environment; {program}", env=others)
    assert done.stdout.strip() == str({"jax_default_matmul_precision": "highest"})
    assert "left out, as it would make other numbers: JAX_ENABLE_X64=1, JAX_THREEFRY_PARTITIONABLE=0" in done.stderr


def test_a_training_goes_on_under_its_own_settings_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "numerics.json"
    path.parent.mkdir()
    numerics.check_same(path, begun=True)  # by an older version, which kept none
    numerics.check_same(path, begun=True)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2 --xla_cpu_enable_fast_math=true")
    with pytest.raises(ConfigError, match="XLA_FLAGS: .*fast_math=true .asked."):
        numerics.check_same(path, begun=True)
    numerics.check_same(path, begun=False)
    assert numerics.numerics()["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=true"
    with jax.default_matmul_precision("highest"):
        assert numerics.method_of_numbers() == {"jax_default_matmul_precision": "highest"}
        with pytest.raises(ConfigError, match="jax_default_matmul_precision: nothing .on disk. != highest .asked."):
            numerics.check_same(path, begun=True)
