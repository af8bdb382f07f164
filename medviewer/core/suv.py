"""Units of a PET image: what one value is worth in each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BQML: Final = "Bq/ml"
SUV_BW: Final = "SUVbw"
SUV_LBM: Final = "SUVlbm"
SUV_BSA: Final = "SUVbsa"
#: Every unit that a PET image may be shown in, in the order of lists.
PET_UNITS: Final = (SUV_BW, SUV_LBM, SUV_BSA, BQML)
#: Units whose values compare between patients, and the window (center, width) that they are shown in at first.
SUV_WINDOWED: Final = (SUV_BW, SUV_LBM)
SUV_WINDOW: Final = (5.0, 10.0)
#: Unit -> UCUM code.
UCUM: Final = {SUV_BW: "g/ml{SUVbw}", SUV_LBM: "g/ml{SUVlbm}", SUV_BSA: "cm2/ml{SUVbsa}", BQML: "Bq/ml"}


@dataclass(frozen=True, slots=True)
class Suv:
    """Standardized uptake values of one PET series.

    Attributes
    ----------
    factors : mapping of unit to float
        Value in that unit = value as the file has it x factor. A unit that is not there cannot be computed.
    missing : mapping of unit to str
        Why a unit of `PET_UNITS` is not in `factors`, as part of a sentence.
    """

    factors: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def units(self) -> tuple[str, ...]:
        """The units that can be computed, in the order of lists."""
        return tuple(unit for unit in PET_UNITS if unit in self.factors)

    def ratio(self, unit: str, other: str) -> float:
        """Return what one `unit` is worth in another; raises KeyError when either is not known."""
        return self.factors[other] / self.factors[unit]
