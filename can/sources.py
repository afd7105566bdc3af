"""Which modules have data sets with names of their own, each in a mapping `SETS` from names to what loads them.

Reading (`can/data`) opens the sets that these modules give it, and imports none of them: the recipes build on it.
"""

from __future__ import annotations

MODULES = ("can.data.smoke", "can.recipes")
SHIFTED = "can.recipes.shifts"  # test sets that are made of others
