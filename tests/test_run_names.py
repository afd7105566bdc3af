"""Runs have readable, unique names."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from can.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, RunConfig
from can.methods import settings_class
from can.runs import run_name
from can.runs.name import SHORT_NAMES, flatten

BASE = RunConfig(
    scale="laptop",
    epochs=100,
    seed=0,
    model=ModelConfig("nano", image_size=28, patch_size=4, width=64, depth=2, heads=2, mlp_dim=128),
    method=settings_class("can")(),
    augment=AugmentConfig(),
    data=DataConfig("fashion_mnist"),
    optim=OptimConfig(base_lr=1e-3, weight_decay=0.1, batch_size=256, total_steps=1000, warmup_steps=50),
)


def changed(**overrides: Any) -> RunConfig:
    """BASE with fields given as `section__field=value`."""
    config = BASE
    for name, value in overrides.items():
        section, _, field = name.rpartition("__")
        if section:
            name, value = section, dataclasses.replace(getattr(config, section), **{field: value})
        config = dataclasses.replace(config, **{name: value})
    return config


def name_of(config: RunConfig, model_role: str = "vit_b", data_role: str = "in1k") -> str:
    return run_name(config, BASE, model_role, data_role)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({}, "can-vitb-in1k-e100-s0"),
        ({"method__sigma_max": 0.1}, "can-vitb-in1k-e100-sigma0.1-s0"),
        ({"epochs": 0.5, "seed": 3}, "can-vitb-in1k-e0.5-s3"),
        (
            {"method__lambda_infonce": 0.06, "method__mask_rate": 0.75, "optim__base_lr": 2.5e-4},
            "can-vitb-in1k-e100-mask0.75-nce0.06-lr0.00025-s0",
        ),
        ({"optim__batch_size": 8, "optim__max_steps": 2}, "can-vitb-in1k-e100-bs8-max_steps2-s0"),
        ({"method__denoise_loss": False, "model__remat": "block"}, "can-vitb-in1k-e100-remat_block-no_denoise-s0"),
        ({"method__infonce_reduction": "sum"}, "can-vitb-in1k-e100-reduction_sum-s0"),
        ({"model__decoder_depth": 2}, "can-vitb-in1k-e100-decoder_depth2-s0"),
    ],
)
def test_a_name_reads_method_model_data_epochs_overrides_seed(overrides: dict[str, Any], name: str) -> None:
    assert name_of(changed(**overrides)) == name


def test_values_that_differ_in_a_late_digit_have_different_names() -> None:
    names = {name_of(changed(optim__base_lr=value)) for value in (1e-4, 1.0000001e-4, 1.00000001e-4)}
    assert len(names) == 3


def test_every_field_changes_the_name_in_its_own_way() -> None:
    fields = [field for field in flatten(BASE.to_dict()) if field not in ("scale", "method.name", "model.size")]
    parts = [SHORT_NAMES.get(field, field.rpartition(".")[2]) for field in fields]
    assert len(parts) == len(set(parts))
    assert set(SHORT_NAMES) <= set(fields)  # no entry for a field that was renamed


def test_names_of_many_overrides_fit_a_file_system_and_stay_apart() -> None:
    many = {
        f"model__{f.name}": getattr(BASE.model, f.name) * 2 for f in dataclasses.fields(ModelConfig) if f.type == "int"
    } | {"method__sigma_scale": 123.456789, "method__temperature": 0.123456789, "optim__clip_norm": 0.987654321}
    first, second = name_of(changed(**many)), name_of(changed(**(many | {"optim__clip_norm": 1.0})))
    assert len(first) < 250
    assert first != second


def test_folders_as_data_make_safe_names_that_tell_them_apart() -> None:
    one, other = name_of(BASE, "micro", "folder:/home/x/my pics"), name_of(BASE, "micro", "folder:/home/y/my pics")
    assert re.fullmatch(r"can-micro-folder_my_pics_[0-9a-f]{8}-e100-s0", one)
    assert one != other


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_role_makes_a_name_that_is_one_folder(model_role: str, data_role: str) -> None:
    name = name_of(BASE, model_role, data_role)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    assert len(name) < 250
    assert name.count("-") == 4
