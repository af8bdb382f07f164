"""A model's network on an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from medviewer.ai.card import ModelCard
from medviewer.ai.infer import infer
from medviewer.ai.models import Model
from medviewer.ai.networks import build_network
from medviewer.ai.sliding_window import sliding_window
from medviewer.jobs.job import NullContext

CTX = NullContext()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDVIEWER_DATA_DIR", str(tmp_path))


@pytest.mark.parametrize("exact", [True, False])
def test_it_is_the_network_in_windows_and_one_back_end_serves_all_runs(exact: bool) -> None:
    torch.manual_seed(0)
    arguments = {"in_channels": 2, "out_channels": 1, "features": [4, 8]}
    network = build_network("unet", arguments).eval()
    model = Model(ModelCard(id="m", version="1", title="M", network="unet", arguments=arguments), network)
    image = np.random.default_rng(0).normal(size=(2, 12, 20, 24)).astype(np.float32)
    inside = np.zeros(image.shape[1:], bool)
    inside[:, 4:8, 2:10] = True
    with torch.inference_mode():
        expected = sliding_window(CTX, network, image, (16, 16, 16), overlap=0.5)
    for _ in range(2):
        found = infer(CTX, model, image, (16, 16, 16), overlap=0.5, inside=inside, outside=-9.0, exact=exact)
        np.testing.assert_allclose(found[:, inside], expected[:, inside], rtol=1e-4, atol=1e-4)
    assert len(model.backends) == 1
