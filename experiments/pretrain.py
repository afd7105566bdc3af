"""Pre-trains one run: `python experiments/pretrain.py --method=can --model=vit_b --data=jft --epochs=800`.

`--print_config` shows every resolved value. Started again, it goes on where it stopped. The run's folder in results/
gets config.json, train.csv and provenance.json; checkpoints and TensorBoard's event files go to checkpoints/.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from experiments.harness import cli, run_flags, run_one


def main() -> None:
    """Runs what the flags describe."""
    config, run = run_flags.run_of_flags()
    if run_flags.flags.FLAGS.print_config:
        print(run_flags.describe(config, run))
        return
    run_one.pretrain(config, run)


if __name__ == "__main__":
    run_flags.define_run_flags()
    cli.run(main)
