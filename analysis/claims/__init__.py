"""Every quantitative claim of the paper, as data: place, sentence in our words, the runs it compares, the measure.

`analysis/make_claims.py` says what measurements say of them.
"""

from __future__ import annotations

from analysis.claims import figures, tables
from analysis.claims.cited import cited
from analysis.claims.primary import primary
from analysis.lib.claims import Claim

CLAIMS: tuple[Claim, ...] = (
    *primary(),
    *tables.table_2(),
    *tables.figure_4(),
    *tables.table_3(),
    *cited(),
    *tables.table_1(),
    *tables.table_4(),
    *figures.figure_7(),
    *figures.figure_8(),
    *figures.few_shot(),
    *figures.robustness(),
    *tables.costs(),
)
