"""Why a checkpoint cannot be used: it is damaged, or it is another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from can.errors import DataError, UserError
from can.runs.belonging import Owner, of_another
from can.system.checksums import find_damage
from can.system.places import Place


class Flaw(NamedTuple):
    """What is wrong with a checkpoint.

    Attributes:
      what: in words.
      strange: whether it is sound, and of another run, step or configuration.
    """

    what: str
    strange: bool = False

    @property
    def told(self) -> str:
        """What follows the checkpoint's name in a sentence."""
        return f"is not this run's ({self.what})" if self.strange else f"is damaged ({self.what})"


def flaw_of(folder: Place, owner: Owner | None, step: int) -> Flaw | None:
    """What speaks against a checkpoint before its state is read; None if nothing does. `owner`: None is anyone."""
    if damage := find_damage(folder):
        return Flaw(damage)
    try:
        difference = of_another(folder, owner, step)
    except DataError as error:
        return Flaw(str(error))
    return None if difference is None else Flaw(difference, strange=True)


def none_is_left(directory: Place, flaws: Mapping[int, Flaw]) -> UserError:
    """The error for checkpoints of which none can be used. Advice to delete is what it says last."""
    if len(flaws) == 1:
        ((step, flaw),) = flaws.items()
        what = f"the checkpoint {directory / str(step)} {flaw.told}"
    elif any(flaw.strange for flaw in flaws.values()):
        details = ", ".join(f"{step} {flaw.told}" for step, flaw in flaws.items())
        what = f"no checkpoint in {directory} can be used ({details})"
    else:
        details = ", ".join(f"{step}: {flaw.what}" for step, flaw in flaws.items())
        what = f"every checkpoint in {directory} is damaged ({details})"
    if any(flaw.strange for flaw in flaws.values()):
        return UserError(f"{what}: move what is another's to where it belongs, or pass another --workdir or --name")
    return UserError(f"{what}: put a copy back if there is one; if not, delete that folder and start again")
