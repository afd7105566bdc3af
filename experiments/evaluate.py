"""Evaluates one pre-trained run: `python experiments/evaluate.py --eval=linear_probe --method=can --epochs=800 ...`.

Takes the flags of pretrain.py, which name the run. A finished evaluation is not repeated without `--force`.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.runs.provenance import peak_memory_mb
from experiments.harness import cli, run_flags, run_one
from experiments.harness.evaluations import EVALS


def main() -> None:
    """Runs what the flags describe."""
    config, run = run_flags.run_of_flags()
    values = run_flags.flags.FLAGS
    if values.print_config:
        print(run_flags.describe(config, run))
        return
    run.claim(config)
    run_one.evaluate(config, run, values.eval)
    for name in values.eval:
        for record in run.read_eval(name):
            print(f"{run.name} {name} {record['metric']} {record['value']:.4f} (n = {record['n']})")
    print(f"peak memory {peak_memory_mb() / 1000:.1f} GB")


if __name__ == "__main__":
    run_flags.define_run_flags()
    run_flags.flags.DEFINE_list("eval", ["linear_probe"], f"evaluations to make: {', '.join(EVALS)}")
    cli.run(main)
