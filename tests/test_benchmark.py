"""The benchmarks' arithmetic on made-up times, the PyTorch twins, the tables of speed, and the scripts at `smoke`."""

from __future__ import annotations

import csv
import subprocess
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from conftest import Checkout
from flax import nnx

from analysis import publish_pages
from analysis.lib.benchmarks import speed
from analysis.lib.benchmarks.table import machine_names, machines
from can.commands.scales import scale_named
from can.commands.spec import Spec, resolve
from can.errors import ConfigError, DataError
from can.methods import build
from can.methods.mae import MAESettings
from can.models.positions import sincos_positions
from can.views import patchify
from can.weights.load import mae_from
from experiments.benchmarks import measurement
from experiments.harness.timing import Summary, interleaved, summary

TINY = dict(
    image_size=16,
    patch_size=8,
    width=16,
    depth=2,
    heads=2,
    mlp_dim=32,
    decoder_width=16,
    decoder_depth=1,
    decoder_heads=2,
    decoder_mlp_dim=24,
    head_width=20,
    head_out=12,
    batch_size=6,
)


def config(method: str):
    return resolve(scale_named("smoke"), Spec(method, "nano", "in1k", 100), seed=0, overrides=TINY)


def test_programs_take_turns_in_alternating_order() -> None:
    calls = []

    def program(name: str):
        def run() -> None:
            time.sleep(0.06 if calls[-1:] == [name] else 0.4)  # longer than timing.SHORTEST; slow after another
            calls.append(name)

        return run

    seconds = interleaved({"a": program("a"), "b": program("b")}, rounds=3)
    assert {name: values.shape for name, values in seconds.items()} == {"a": (3,), "b": (3,)}
    assert calls[:2] == ["a", "b"]  # unmeasured
    assert "".join(calls[2:]) == "aabb" + "bbaa" + "aabb"
    assert max(map(np.max, seconds.values())) < 0.3  # a turn's first call is not measured


def test_the_summary_is_the_median_and_the_interquartile_range() -> None:
    assert summary(np.array([5.0, 1.0, 2.0, 3.0, 4.0])) == Summary(median=3.0, iqr=2.0)


def test_a_row_splits_the_step_and_takes_its_share_of_the_peak_round_by_round() -> None:
    beginnings = dict(
        augmentation=np.array([1.0, 2.0, 1.0]),
        forward=np.array([3.0, 6.0, 3.0]),
        backward=np.array([7.0, 14.0, 7.0]),
        optimiser=np.array([8.0, 16.0, 8.0]),
    )
    # The machine is half as fast in the second round; its peak is 100 operations a second in the others.
    peak = 200 / np.array([2.0, 4.0, 2.0])
    row = measurement.step_speed(beginnings, peak, flops=400, batch_size=16)
    assert [row[f"{part}_s"] for part in beginnings] == [1.0, 2.0, 4.0, 1.0]
    assert (row["step_s"], row["images_per_s"], row["share_of_peak"]) == (8.0, 2.0, 0.5)
    assert row["gflops_per_s"] == pytest.approx(50e-9) and row["matmul_gflops_per_s"] == pytest.approx(100e-9)
    assert row["step_iqr_s"] == 4.0


def test_ratios_are_medians_over_rounds() -> None:
    slow, fast = np.array([3.0, 30.0, 4.0]), np.array([2.0, 20.0, 2.0])
    assert measurement.simclr_ratios(slow, 17, fast, 10) == dict(simclr_time_ratio=1.5, simclr_flops_ratio=1.7)
    peers = measurement.peer_speed(ours=fast, theirs=slow)
    assert (peers["speedup"], peers["ours_s"], peers["theirs_s"]) == (1.5, 2.0, 4.0)


def test_runs_at_a_time_are_compared_with_one_round_by_round() -> None:
    alone, together, peak = np.array([1.0, 10.0, 1.0]), np.array([1.5, 15.0, 1.5]), 200 / np.array([2.0, 20.0, 2.0])
    row = measurement.jobs_speed(alone, together, peak, 2, flops=30, batch_size=6)
    assert (row["share_of_peak_alone"], row["share_of_peak"]) == pytest.approx((0.3, 0.4))
    assert (row["jobs"], row["alone_s"], row["together_s"], row["images_per_s"]) == (2, 1.0, 1.5, 8.0)
    assert row["speedup"] == pytest.approx(4 / 3)


def test_a_measurement_replaces_that_of_the_same_setting_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "speed.csv"
    measurement.save(path, [dict(method="can", step_s=1.0), dict(method="mae", step_s=2.0)], ["method"])
    measurement.save(path, [dict(method="can", step_s=1 / 3, extra=7)], ["method"])
    assert path.read_text() == "method,step_s,extra\nmae,2,\ncan,0.33333,7\n"


def save_start(results_dir: Path, method: str, cold_s: float, cpu: str) -> None:
    found = dict(method=method, model="vit_b", cold_s=cold_s, warm_s=1.0, cpus=2, cpu=cpu)
    measurement.save(results_dir / "laptop" / "start.csv", [found], ["method", "model"])


def test_own_numbers_stand_beside_the_published_ones_of_the_same_setting(tmp_path: Path) -> None:
    table, own, published = speed.TABLES["start"], tmp_path / "own", tmp_path / "published"
    command = "python experiments/benchmarks/start.py --scale=laptop"
    assert (
        table.side_by_side(own, published, "laptop") == f"Not measured, and not published. `{command}` measures yours."
    )
    save_start(published, "can", 4.0, "A")
    save_start(published, "mae", 3.0, "A")
    assert f"Published: measured on 2 cores of A. `{command}` measures yours." in table.side_by_side(
        own, published, "laptop"
    )
    save_start(own, "mae", 5.0, "B")
    text = table.side_by_side(own, published, "laptop")
    lines = [[cell.strip() for cell in line.split("|")[1:5]] for line in text.splitlines() if line.startswith("| ")]
    assert lines[0] == ["Method", "Model", "Numbers", "First start, s"]
    assert lines[1:] == [
        ["MAE", "vit_b", "yours", "5.0"],
        ["MAE", "vit_b", "published", "3.0"],
        ["CAN", "vit_b", "published", "4.0"],
    ]
    assert text.endswith("Yours: measured on 2 cores of B. Published: measured on 2 cores of A.")


def test_what_an_accelerator_did_is_not_told_as_its_processors() -> None:
    rows = pd.DataFrame([dict(cpus=2, cpu="A", accelerator=""), dict(cpus=16, cpu="B", accelerator="Fast GPU")])
    assert machine_names(rows) == ["2 cores of A", "Fast GPU"]
    assert machine_names(rows[["cpus", "cpu"]]) == ["2 cores of A", "16 cores of B"]  # of before there was the column
    assert machines(rows) == "2 cores of A, Fast GPU"
    assert machines(rows[["cpus"]]) == ""


def test_a_page_gets_its_tables_and_nothing_else_changes(tmp_path: Path) -> None:
    page = "Before\n<!-- table: speed laptop -->\nold\n<!-- /table -->\nafter <!-- table: memory -->\n<!-- /table -->\n"
    filled = publish_pages.fill(page, tmp_path)
    assert "old" not in filled and "`python experiments/benchmarks/speed.py --scale=laptop`" in filled
    assert filled.startswith("Before\n<!-- table: speed laptop -->\n") and filled.endswith("<!-- /table -->\n")
    assert publish_pages.fill(filled, tmp_path) == filled
    with pytest.raises(ConfigError, match="unknown table 'sped'; did you mean 'speed'"):
        publish_pages.fill("<!-- table: sped laptop -->\n<!-- /table -->", tmp_path)
    with pytest.raises(DataError, match="no `<!-- /table -->`"):
        publish_pages.fill("<!-- table: memory -->\n", tmp_path)


@pytest.mark.parametrize("method", ["mae", "simclr"])
def test_a_twin_has_our_parameters_and_our_loss(method: str) -> None:
    torch = pytest.importorskip("torch")
    torch_twins = pytest.importorskip("experiments.benchmarks.torch_twins")
    torch.manual_seed(0)
    same = torch_twins.same_model(config(method))
    ours = build(same.model, same.method, rngs=nnx.Rngs(0))
    twin = torch_twins.twin(same)
    count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(ours, nnx.Param)))
    assert torch_twins.num_parameters(twin) == count

    views = np.random.default_rng(0).normal(size=(ours.num_views, 6, 16, 16, 3)).astype(np.float32)
    theirs = torch.from_numpy(views.reshape(-1, 16, 16, 3).transpose(0, 3, 1, 2).copy())
    mae = twin.mae if method == "mae" else torch_twins.MAE(same.model, MAESettings()).mae
    with torch.no_grad():  # He et al.'s positions; a fresh model of transformers encodes the row first
        mae.vit.embeddings.position_embeddings[0, 1:] = torch.from_numpy(sincos_positions(2, 16))
        mae.decoder.decoder_pos_embed[0, 1:] = torch.from_numpy(sincos_positions(2, 16))
    weights = dict(mae.state_dict())
    if method == "mae":
        noise = np.random.default_rng(1).uniform(size=(6, 4)).astype(np.float32)
        expected = twin(theirs, torch.from_numpy(noise))
        converted = mae_from(mae.config, weights)
        order = jnp.argsort(jnp.asarray(noise), axis=1)
        loss = converted.loss_of(converted.inputs_in_order(patchify(jnp.asarray(views[0]), 8), order))[0]
    else:
        expected = twin(theirs)
        encoder = {name: value for name, value in twin.state_dict().items() if name.startswith("vit.")}
        ours.encoder = mae_from(mae.config, weights | encoder).encoder
        linear = [layer for layer in twin.head if isinstance(layer, torch.nn.Linear)]
        for layer, other in zip([*ours.head.hidden, ours.head.out], linear, strict=True):
            layer.kernel[...] = jnp.asarray(other.weight.detach().numpy().T)
        ours.head.out.bias[...] = jnp.asarray(linear[-1].bias.detach().numpy())
        loss = nnx.jit(lambda ours: ours.loss({"views": jnp.asarray(views)}, jax.random.key(0))[0])(ours)
    # BatchNorm divides by the small deviation of a fresh encoder's features, and rounding errors with it.
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5 if method == "mae" else 1e-4)


def run(checkout: Checkout, script: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return checkout.run(f"experiments/benchmarks/{script}.py", "--scale=smoke", "--rounds=1", *flags)


def test_speed_measures_writes_and_says_so(checkout: Checkout) -> None:
    done = run(checkout, "speed", "--methods=simclr", "--models=nano", "--depth=1", "--augmentation=none")
    assert done.returncode == 0, done.stderr
    assert "simclr/nano: 1 rounds of each, about" in done.stderr
    results = checkout.root / "results"
    with (results / "smoke" / "speed.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["method"], row["depth"], row["batch_size"], row["rounds"]) == ("simclr", "1", "32", "1")
    parts = [float(row[f"{part}_s"]) for part in speed.PARTS]
    assert sum(parts) == pytest.approx(float(row["step_s"]), rel=1e-3)
    assert (float(row["simclr_time_ratio"]), float(row["simclr_flops_ratio"])) == (1.0, 1.0)
    share = float(row["gflops_per_s"]) / float(row["matmul_gflops_per_s"])
    assert float(row["share_of_peak"]) == pytest.approx(share, rel=1e-3)
    assert float(row["images_per_s"]) == pytest.approx(32 / float(row["step_s"]), rel=1e-3)
    assert done.stdout.startswith("simclr/nano: step ") and "results/smoke/speed.csv" in done.stdout
    tables = {name: speed.TABLES[name].markdown(results, "smoke") for name in ("speed", "parts", "ratios")}
    assert "| SimCLR   | nano" in tables["speed"] and "| SimCLR   | nano" in tables["parts"]
    assert tables["ratios"].startswith("– (not measured")  # CAN was not timed
    assert checkout.changes() == ""


def test_jobs_compares_runs_at_a_time_with_one(checkout: Checkout) -> None:
    done = run(checkout, "jobs", "--methods=mae", "--models=nano", "--depth=1", "--augmentation=none", "--jobs=2")
    assert done.returncode == 0, done.stderr
    results = checkout.root / "results"
    with (results / "smoke" / "jobs.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["method"], row["jobs"], row["depth"]) == ("mae", "2", "1")
    assert float(row["speedup"]) == pytest.approx(2 * float(row["alone_s"]) / float(row["together_s"]), rel=1e-3)
    assert float(row["images_per_s"]) == pytest.approx(2 * 32 / float(row["together_s"]), rel=1e-3)
    assert "mae/nano: one run " in done.stdout
    assert "| MAE " in speed.TABLES["jobs"].markdown(results, "smoke")
    assert checkout.changes() == ""


def test_seeds_at_once_compares_seeds_of_one_program_with_one(checkout: Checkout) -> None:
    given = ("--methods=mae", "--models=nano", "--depth=1", "--augmentation=none", "--seeds=1,2")
    done = run(checkout, "seeds_at_once", *given)
    assert done.returncode == 0, done.stderr
    results = checkout.root / "results"
    with (results / "smoke" / "seeds_at_once.csv").open(newline="") as file:
        one, two = csv.DictReader(file)
    assert (one["seeds"], two["seeds"], one["speedup"]) == ("1", "2", "1")
    assert float(two["images_per_s"]) == pytest.approx(2 * 32 / float(two["step_s"]), rel=1e-3)
    assert float(two["memory_mb"]) > 1.5 * float(one["memory_mb"])
    assert "mae/nano: 2 seeds " in done.stdout
    assert "| MAE " in speed.TABLES["seeds_at_once"].markdown(results, "smoke")
    assert checkout.changes() == ""


def test_an_unknown_method_ends_with_one_line(checkout: Checkout) -> None:
    done = run(checkout, "speed", "--methods=cam")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "unknown method to time 'cam'; did you mean 'can'?" in done.stderr


def test_peers_takes_only_methods_that_both_sides_have(checkout: Checkout) -> None:
    pytest.importorskip("transformers")
    done = run(checkout, "peers", "--methods=can,mae")
    assert done.returncode == 1 and "PyTorch's side has no can: pass --methods=mae,simclr" in done.stderr
