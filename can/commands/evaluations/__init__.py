"""The evaluations of a pre-trained run, by name. To add one, add a file and a line to EVALS.

What an evaluation measures is in `can.evals`; what is here says on which data and by which protocol.
"""

from __future__ import annotations

from can.commands.evaluations.evaluation import Evaluation
from can.commands.evaluations.few_shot import FewShot, FewShotMeanRank
from can.commands.evaluations.final_losses import FinalLosses
from can.commands.evaluations.finetune import Finetune
from can.commands.evaluations.knn import NearestNeighbours
from can.commands.evaluations.linear_probe import LinearProbe
from can.commands.evaluations.pictures import PicturesOfMethod
from can.commands.evaluations.robustness import Robustness

EVALS: dict[str, Evaluation] = {
    "few_shot": FewShot("lsr"),
    "few_shot_mean_rank": FewShotMeanRank(),
    "few_shot_sgd": FewShot("sgd"),
    "final_losses": FinalLosses(),
    "finetune": Finetune("paper"),
    "finetune_mae": Finetune("mae"),
    "finetune_scratch": Finetune("scratch"),
    "knn": NearestNeighbours(),
    "linear_probe": LinearProbe(),
    "pictures": PicturesOfMethod(),
    "robustness": Robustness(),
}
