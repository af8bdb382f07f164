"""One image, one scheme; another for another modality where the card says so."""

from __future__ import annotations

import numpy as np

from medviewer.ai.intensity import normalise


def test_a_modality_has_its_own_scheme() -> None:
    scheme = {"kind": "zscore", "by_modality": {"CT": {"kind": "window", "low": 0.0, "high": 80.0}}}
    head = np.array([-1000, 0, 40, 80, 1500], np.int16)
    np.testing.assert_allclose(normalise(head, scheme, "CT"), [-1, -1, 0, 1, 1])
    for modality in ("MR", ""):
        np.testing.assert_array_equal(normalise(head, scheme, modality), normalise(head, {"kind": "zscore"}))
