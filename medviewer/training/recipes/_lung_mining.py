"""What a model so far takes for nodules: shown to it more often, and measured when it is finished."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medviewer.ai.device import choose_device
from medviewer.ai.nodules import LOOKS, candidates, mark
from medviewer.ai.predictor import Model
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, SubContext
from medviewer.training.recipes._lung_scenes import Scene


def volume_of(scene: Scene) -> Volume:
    """Return a scene as an image that a user could open."""
    k, j, i = scene.hu.shape
    geometry = Geometry((i, j, k), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    return Volume(id=scene.name, name=scene.name, array=scene.hu, geometry=geometry, modality="CT")


class OnDevice(SubContext):
    """A context that names a device where its parent leaves the choice."""

    def __init__(self, parent: JobContext) -> None:
        super().__init__(parent, 0.0, 1.0)
        self._device = choose_device(parent.device)

    @property
    def device(self) -> str:
        """Where to compute."""
        return self._device


def mine(ctx: JobContext, model: Model, scenes: Sequence[Scene]) -> dict[str, npt.NDArray[np.int32]]:
    """Return places (n, 3) of every scene that the first network takes for nodules and are none, by its name."""
    mined: dict[str, npt.NDArray[np.int32]] = {}
    for n, scene in enumerate(scenes):
        ctx.progress(n / len(scenes), "Looking for what is taken for nodules")
        inside = np.ones(scene.hu.shape, bool) if scene.lung is None else scene.lung
        marked = mark(ctx, model, volume_of(scene), inside, LOOKS[:1])
        near = ndimage.binary_dilation(scene.nodule, iterations=4)
        centers = [np.array(c.center) + marked.region.lower for c in candidates(marked, 3.0)]
        places = [np.rint(center).astype(np.int32) for center in centers]
        mined[scene.name] = np.array([p for p in places if not near[tuple(p)]], np.int32).reshape(-1, 3)
    return mined
