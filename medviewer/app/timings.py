"""How long tasks take on this machine, from runs that were measured."""

from __future__ import annotations

from medviewer.api.plugin import TaskInfo
from medviewer.app.settings import Settings
from medviewer.core.volume import Volume

#: Weight of the newest run: machines and models change, and the first run loads the model as well.
_NEWEST = 0.5
_MM3_PER_LITRE = 1e6


def amount(volume: Volume) -> float:
    """Return how much there is to compute: litres, because models work on a grid of their own; else megapixels."""
    if volume.in_mm and volume.has_depth:
        x, y, z = (n * s for n, s in zip(volume.geometry.size, volume.geometry.spacing, strict=True))
        return max(x * y * z / _MM3_PER_LITRE, 1e-3)
    return max(volume.array.size / 1e6, 1e-3)


def measured_seconds(settings: Settings, task: TaskInfo, volume: Volume, device: str) -> float | None:
    """Return the time that a run will take, by those before it on the same device; None without one."""
    rate = settings.task_rates.get(_key(task, volume, device))
    return None if rate is None else rate * amount(volume)


def remember_seconds(settings: Settings, task: TaskInfo, volume: Volume, device: str, seconds: float) -> None:
    """Note how long a run took."""
    key, rate = _key(task, volume, device), seconds / amount(volume)
    before = settings.task_rates.get(key, rate)
    settings.task_rates[key] = round(_NEWEST * rate + (1 - _NEWEST) * before, 4)


def _key(task: TaskInfo, volume: Volume, device: str) -> str:
    unit = "litre" if volume.in_mm and volume.has_depth else "megapixel"
    return f"{task.id} {task.model_version or task.plugin_version} {device.partition(':')[0]} s/{unit}"
