"""Run a model of nnInteractive: look around the prompt, look wider while the object goes on, then draw it finely.

References
----------
Isensee, Rokuss, Krämer et al., nnInteractive: Redefining 3D Promptable Segmentation, 2025, and the source of its
inference session, whose numbers are named here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medviewer.ai.card import ModelCard
from medviewer.ai.formats import nninteractive as folders
from medviewer.ai.nninteractive_input import Mark, Window, channels_of, marks_of
from medviewer.ai.nnunet import network_of, sha256_of
from medviewer.ai.torch_file import damaged, load_torch_file
from medviewer.core.errors import InputError
from medviewer.core.prompt import Mask, Prompt
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext

if TYPE_CHECKING:
    from torch import nn

#: How much wider each look is than the one before, and how wide at most, in windows of the network.
WIDER, WIDEST = 1.5, 4.0
#: The object goes on when so many voxels of a face changed, or so many and by this part.
MANY_CHANGED, SOME_CHANGED, PART_CHANGED = 1500, 100, 0.2
#: What changed by less than this many voxels across is not drawn anew.
COARSEST_SPECK = 5
#: The rim of a fine look whose answer does not count, in patches.
RIM = 1 / 8
#: Fine looks begin on so many places along each axis of what changed.
TRIED = 4


class NninteractiveSession:
    """An `InteractiveSession` with a network of nnInteractive; the object is on the grid of the volume.

    Parameters
    ----------
    volume : Volume
    network : nn.Module
        From (1, channels, k, j, i) to two logits.
    card : ModelCard
    device : str

    Raises
    ------
    InputError
        ``E_MODEL_INPUT``: the image is empty.
    """

    def __init__(self, volume: Volume, network: nn.Module, card: ModelCard, device: str = "cpu") -> None:
        self._volume = volume
        self._network = network.to(device).eval()
        self._device = device
        self._settings = dict(card.settings)
        self._patch = tuple(card.window)
        self._mean, self._std = usual_values(volume)
        self._prompts: list[tuple[Mark, ...]] = []
        self._mask = np.zeros(volume.array.shape, bool)
        self._before: list[tuple[Region, Mask]] = []
        supported = {kind.rstrip("s").removesuffix("2d").removesuffix("3d") for kind in self._settings["supported"]}
        self.prompts = frozenset("box" if kind == "bbox" else kind for kind in supported)

    def add(self, ctx: JobContext, prompt: Prompt) -> tuple[Region, Mask]:
        """Take a prompt; return the box that was drawn anew and the object's mask inside it.

        Raises
        ------
        InputError
            ``E_PROMPT``: it lies outside the image, is of a kind that the model does not take, or there is nothing yet
            that could be taken away.
        """
        if not prompt.positive and not self._prompts:
            raise InputError(
                "There is nothing yet to take away from.", hint="Click inside the object first.", code="E_PROMPT"
            )
        marks = marks_of(prompt, self._volume, self._settings)
        drawn = self._drawn(ctx, [*self._prompts, marks], *self._first_look(marks, prompt))
        region = Region((0, 0, 0), (0, 0, 0))
        for part, _ in drawn:
            region = region.union(part)
        self._before.append((region, self._mask[region.slices].copy()))
        self._prompts.append(marks)
        for part, mask in drawn:
            self._mask[part.slices] = mask
        return region, self._mask[region.slices].copy()

    def undo(self) -> tuple[Region, Mask] | None:
        """Take the last prompt back; None when there is none."""
        if not self._before:
            return None
        self._prompts.pop()
        region, mask = self._before.pop()
        self._mask[region.slices] = mask
        return region, mask.copy()

    def close(self) -> None:
        """Free what it holds."""
        self._prompts.clear()
        self._before.clear()

    def _first_look(self, marks: Sequence[Mark], prompt: Prompt) -> tuple[tuple[int, ...], float]:
        """Return the middle of the first look and its width: a third of a window more than what is marked."""
        mark = marks[-1]
        if prompt.kind == "point":
            # A ball that is cut at the border of the image does not say where it was put.
            peak = np.unravel_index(int(mark.values.argmax()), mark.values.shape)
            return tuple(int(p) + low for p, low in zip(peak, mark.region.lower, strict=True)), 1.0
        box = Region.of_mask(mark.values > 0)
        assert box is not None
        middles = [(a + b) / 2 for a, b in zip(box.lower, box.upper, strict=True)]
        centre = tuple(round(m + low) for m, low in zip(middles, mark.region.lower, strict=True))
        zoom = max((n + p // 3) / p for n, p in zip(box.shape, self._patch, strict=True))
        return centre, min(WIDEST, max(1.0, zoom))

    def _drawn(
        self, ctx: JobContext, prompts: Sequence[Sequence[Mark]], centre: tuple[int, ...], zoom: float
    ) -> list[tuple[Region, Mask]]:
        """Return what is drawn anew, box by box."""
        while True:
            ctx.progress(None, "Looking" if zoom == 1 else f"Looking {zoom:.1f} times wider")
            window = Window.around(centre, self._patch, zoom)
            seen = self._look(prompts, self._mask, window, zoom)
            if zoom >= WIDEST or not self._goes_on(seen, window):
                break
            zoom = min(WIDEST, zoom * WIDER)
        whole = Region.whole(self._mask.shape)
        if zoom == 1:
            inside = window.region.clip(whole)
            return [(inside, seen[window.within(inside)])]
        coarse = self._mask.copy()
        inside = window.region.clip(whole)
        coarse[inside.slices] = enlarged(seen, window.size)[window.within(inside)]
        boxes = self._fine_windows(coarse, inside) or [Window.around(centre, self._patch, 1.0)]
        for n, fine in enumerate(boxes):
            ctx.progress(n / len(boxes), f"Drawing part {n + 1} of {len(boxes)}")
            part = fine.region.clip(whole)
            coarse[part.slices] = self._look(prompts, coarse, fine, 1.0)[fine.within(part)]
        return [(part, coarse[part.slices].copy()) for part in (fine.region.clip(whole) for fine in boxes)]

    def _look(self, prompts: Sequence[Sequence[Mark]], found: Mask, window: Window, zoom: float) -> Mask:
        """Return what the network says is the object in a window, on its own grid."""
        import torch

        inside = window.region.clip(Region.whole(found.shape))
        values = (self._volume.array[inside.slices].astype(np.float32) - self._mean) / self._std
        given = np.concatenate(
            [window.seen(values, inside, "linear")[None], channels_of(prompts, found, window, self._settings, zoom)]
        )
        with torch.inference_mode(), torch.autocast("cuda", enabled=self._device != "cpu"):
            logits = self._network(torch.from_numpy(given)[None].to(self._device))
        seen: Mask = (logits[0, 1] > logits[0, 0]).cpu().numpy()
        return seen

    def _goes_on(self, seen: Mask, window: Window) -> bool:
        """Return whether the object has changed where the window ends."""
        inside = window.region.clip(Region.whole(self._mask.shape))
        before = window.seen(self._mask[inside.slices], inside, "nearest") > 0.5
        for axis in range(3):
            for side in (0, -1):
                old, new = before.take(side, axis), seen.take(side, axis)
                changed = int((old != new).sum())
                less, more = sorted((int(old.sum()), int(new.sum())))
                if changed > MANY_CHANGED or (changed > SOME_CHANGED and more > (1 + PART_CHANGED) * less):
                    return True
        return False

    def _fine_windows(self, coarse: Mask, inside: Region) -> list[Window]:
        """Return windows of the network's own scale whose middles hold all that changed, the fullest first."""
        from scipy.ndimage import maximum_filter, minimum_filter

        changed = coarse[inside.slices] != self._mask[inside.slices]
        changed = maximum_filter(minimum_filter(changed, COARSEST_SPECK, mode="nearest"), COARSEST_SPECK)
        rim = [int(n * RIM) for n in self._patch]
        return [
            Window.around([c + low for c, low in zip(centre, inside.lower, strict=True)], self._patch, 1.0)
            for centre in covering(changed, [n - 2 * r for n, r in zip(self._patch, rim, strict=True)])
        ]


def covering(mask: Mask, size: Sequence[int]) -> list[tuple[int, ...]]:
    """Return middles of boxes of a size that together hold a mask; each next one holds the most of what is left."""
    left = mask.copy()
    centres: list[tuple[int, ...]] = []
    while (box := Region.of_mask(left)) is not None:
        axes = [
            np.arange(low, up, max(1, round((up - low) / TRIED))) for low, up in zip(box.lower, box.upper, strict=True)
        ]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        places = places[left[tuple(places.T)]]
        tried = places if len(places) else np.argwhere(left)[:1]
        held = [(int(left[_box_around(place, size)].sum()), tuple(int(n) for n in place)) for place in tried]
        best = max(held, key=lambda entry: entry[0])[1]
        left[_box_around(best, size)] = False
        centres.append(best)
    return centres


def _box_around(centre: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(max(0, c - n // 2), max(0, c + n - n // 2)) for c, n in zip(centre, size, strict=True))


def enlarged(mask: Mask, size: Sequence[int]) -> Mask:
    """Return a mask on a finer grid, its surface interpolated."""
    import torch

    given = torch.from_numpy(mask)[None, None].float()
    larger: Mask = (torch.nn.functional.interpolate(given, tuple(size), mode="trilinear")[0, 0] >= 0.5).numpy()
    return larger


def usual_values(volume: Volume) -> tuple[float, float]:
    """Return mean and standard deviation of the image inside the box that holds all that is not zero."""
    box = Region.of_mask(volume.array != 0)
    if box is None:
        raise InputError("This image is empty.", hint="Choose another series.", code="E_MODEL_INPUT")
    part = volume.array[box.slices]
    mean = float(part.mean(dtype=np.float64))
    # Slice by slice: the squares of a whole volume in double precision take eight times its memory.
    squares = sum(float(np.square(plane - mean, dtype=np.float64).sum()) for plane in part)
    return mean, max(float(np.sqrt(squares / max(1, part.size - 1))), 1e-8)


def nninteractive_session(ctx: JobContext, folder: Path, volume: Volume) -> tuple[NninteractiveSession, str]:
    """Return a session with the model of a folder, and the SHA-256 of its weights.

    Raises
    ------
    TaskError
        ``E_MODEL_FILE``, ``E_MODEL_CODE`` or ``E_TORCH_VERSION``.
    InputError
        ``E_MODEL_INPUT``: the image is empty.
    """
    ctx.progress(None, "Loading the model")
    path = folders.checkpoint(folder)
    network, card, digest = _open(folder, path, path.stat().st_mtime_ns, path.stat().st_size)
    return NninteractiveSession(volume, network, card, ctx.device), digest


@lru_cache(maxsize=1)
def _open(folder: Path, path: Path, time_ns: int, size: int) -> tuple[nn.Module, ModelCard, str]:
    card = folders.read_card(folder)
    data = load_torch_file(path)
    arguments = data.get("init_args")
    trained = arguments.get("configuration") if isinstance(arguments, dict) else None
    if trained != card.settings["configuration"]:
        raise damaged(path, f"it was trained as {trained!r}, not as {card.settings['configuration']!r}")
    return network_of(card, data, path), card, sha256_of(path)
