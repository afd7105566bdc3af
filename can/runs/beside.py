"""What looks at a state now and then while it trains, and changes nothing of it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from flax import nnx

from can.runs.row import Metrics

# The columns of train.csv that such looks fill: empty in the rows between them, and absent where nobody looks.
COLUMNS = ("knn_top1", "effective_rank", "projection_spread")


@runtime_checkable
class Beside(Protocol):
    """Something that measures a state. It draws from no generator that training draws from."""

    every: int  # steps between two looks, rounded up to a row of the log; the last step has one, too

    def look(self, graphdef: nnx.GraphDef, state: Any) -> Metrics:
        """Some of `COLUMNS`, of a `TrainState`, which stays as it is. All processes call it."""
        ...
