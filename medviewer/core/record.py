"""A step of work as plain data: what the journal stores and a newer version can still read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class StepRecord:
    """One undoable step.

    Attributes
    ----------
    kind : str
        Which step this is.
    meta : mapping
        JSON-ready values.
    arrays : mapping of str to array
        Voxel data, any numeric dtype.
    """

    kind: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
