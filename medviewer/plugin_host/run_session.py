"""What the model worker does with interactive models: sessions stay in a table here, only changes cross."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from medviewer.ai.device import choose_device
from medviewer.api.plugin import InteractiveSession, Mask, TaskInfo
from medviewer.core.errors import MedViewerError, TaskError
from medviewer.core.prompt import Prompt
from medviewer.core.provenance import Provenance
from medviewer.core.region import Region
from medviewer.core.serial import prompt_to_json
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext
from medviewer.plugin_host.fence import fenced
from medviewer.plugin_host.forms import params_from_dict, params_to_dict
from medviewer.plugin_host.loader import Reached, TaskSource, broken, load_task, params_type
from medviewer.plugin_host.model_tasks import require_unchanged
from medviewer.plugin_host.run_task import DeviceContext, provenance_of, require_ready

log = logging.getLogger(__name__)

#: Names for `WorkerProcess.call`.
ANSWER = "medviewer.plugin_host.run_session:answer"
CLOSE = "medviewer.plugin_host.run_session:close"
#: More sessions than this are not held: the one that was used longest ago is closed, and reopened when asked.
MOST_OPEN = 3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SessionPayload:
    """A question to a session, as it crosses to the worker.

    Attributes
    ----------
    key : str
        Of the session; the caller chooses it.
    source : TaskSource
        The interactive task.
    parameters : mapping
        Plain values by field name; what is not named keeps its default.
    shown : sequence of Prompt
        The prompts whose object the caller has.
    wanted : sequence of Prompt
        The prompts whose object it wants.
    volume : Volume or None
        Sent when the worker has answered that it does not hold the session.
    """

    key: str
    source: TaskSource
    shown: Sequence[Prompt]
    wanted: Sequence[Prompt]
    parameters: Mapping[str, object] = field(default_factory=dict)
    volume: Volume | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SessionAnswer:
    """How the object changes.

    Attributes
    ----------
    region : Region
        Box (k, j, i) that holds every voxel in which `before` and `after` differ.
    before, after : bool, shape of the region
        The object of the prompts that were shown, and of those that were wanted.
    provenance : Provenance
        With the wanted prompts among the parameters.
    """

    region: Region
    before: Mask
    after: Mask
    provenance: Provenance


@dataclass(slots=True, eq=False)
class _Held:
    """A session, what it has been told, and its object as one mask of the whole volume."""

    info: TaskInfo
    task: Any
    session: InteractiveSession
    parameters: object
    volume: Volume
    mask: Mask
    told: list[dict[str, Any]] = field(default_factory=list)


#: A box, and what was there before it changed.
_Change = tuple[Region, Mask]

_open: dict[str, _Held] = {}


def answer(ctx: JobContext, payload: object) -> SessionAnswer | None:
    """Bring a session from the prompts that are shown to those that are wanted; `payload` is a `SessionPayload`.

    Returns
    -------
    SessionAnswer or None
        None when the worker does not hold the session and needs the volume: it is new, was closed, or the worker is.

    Raises
    ------
    MedViewerError
        What the session refused a prompt with; it is then as it was before that prompt.
    """
    assert isinstance(payload, SessionPayload)
    ctx = DeviceContext(ctx, choose_device(ctx.device))
    held = _open.pop(payload.key, None)
    if held is None:
        if payload.volume is None:
            return None
        held = _opened(ctx, payload)
    # The one used last stands last.
    _open[payload.key] = held
    while len(_open) > MOST_OPEN:
        close(ctx, next(iter(_open)))
    started, clock = datetime.now(UTC), time.perf_counter()
    with fenced(payload.source):
        _bring(ctx, held, payload.shown)
        changes = _bring(ctx, held, payload.wanted)
    region = Region((0, 0, 0), (0, 0, 0))
    for changed, _ in changes:
        region = region.union(changed)
    after = held.mask[region.slices].copy()
    before = after.copy()
    for changed, old in reversed(changes):
        before[_within(changed, region)] = old
    provenance = provenance_of(
        held.info,
        held.task,
        {**params_to_dict(held.parameters), "prompts": list(held.told)},
        [held.volume],
        ctx.device,
        started,
        time.perf_counter() - clock,
    )
    return SessionAnswer(region, before, after, provenance)


def close(ctx: JobContext, payload: object) -> None:
    """Close a session; `payload` is its key. One that is not there is closed."""
    if (held := _open.pop(str(payload), None)) is not None:
        held.session.close()


def _opened(ctx: JobContext, payload: SessionPayload) -> _Held:
    assert payload.volume is not None
    payload.volume.array.flags.writeable = False
    info = payload.source.info
    require_unchanged(info)
    with fenced(payload.source):
        task: Any = load_task(payload.source)
        parameters = params_from_dict(params_type(task, info), payload.parameters)
        require_ready(info, task.check())
        session = _guarded(info, "opening it", lambda: task.open(ctx, payload.volume, parameters))
    return _Held(info, task, session, parameters, payload.volume, np.zeros(payload.volume.array.shape, bool))


def _bring(ctx: JobContext, held: _Held, wanted: Sequence[Prompt]) -> list[_Change]:
    """Tell a session what is missing, and have it forget what is too much; return what that changed, in order."""
    texts = [prompt_to_json(prompt) for prompt in wanted]
    same = 0
    while same < min(len(texts), len(held.told)) and texts[same] == held.told[same]:
        same += 1
    changes: list[_Change] = []
    while len(held.told) > same:
        undone = _guarded(held.info, "undo", held.session.undo)
        if undone is None:
            changes.append(_begin_anew(ctx, held))
            same = 0
            break
        changes.append(_written(held, undone))
        held.told.pop()
    for prompt, text in zip(wanted[same:], texts[same:], strict=True):
        ctx.check_cancelled()
        changes.append(_written(held, _guarded(held.info, "a prompt", partial(held.session.add, ctx, prompt))))
        held.told.append(text)
    return changes


def _begin_anew(ctx: JobContext, held: _Held) -> _Change:
    """Open a session again that cannot undo."""
    held.session.close()
    held.session = _guarded(held.info, "opening it", lambda: held.task.open(ctx, held.volume, held.parameters))
    held.told.clear()
    box = Region.of_mask(held.mask) or Region((0, 0, 0), (0, 0, 0))
    return _written(held, (box, np.zeros(box.shape, bool)))


def _written(held: _Held, answered: object) -> _Change:
    """Write an answer into the mask, and return its box with what was there; refuse what breaks the contract."""
    match answered:
        case (Region() as region, np.ndarray() as mask) if mask.dtype == bool and mask.shape == region.shape:
            if region.is_empty or region == region.clip(Region.whole(held.mask.shape)):
                old = held.mask[region.slices].copy()
                held.mask[region.slices] = mask
                return region, old
    raise broken(held.info, "its answer is not a box in the image and a mask of that shape")


def _guarded(info: TaskInfo, what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (MedViewerError, MemoryError, Reached):
        raise
    # A fault of the plugin becomes a report that names it; memory that ran out has a report of its own.
    except Exception as error:
        if "out of memory" in str(error).lower():
            raise
        log.error("%s (%s %s) failed at %s.", info.id, info.plugin, info.plugin_version, what, exc_info=error)
        raise TaskError(
            f"{info.title} failed at {what}: {type(error).__name__}: {error}",
            hint=f"This is a fault in the plugin {info.plugin} {info.plugin_version}. The log has the details.",
        ) from error


def _within(region: Region, outer: Region) -> tuple[slice, slice, slice]:
    k, j, i = (
        slice(low - start, up - start) for low, up, start in zip(region.lower, region.upper, outer.lower, strict=True)
    )
    return k, j, i
