"""A session of an interactive task in the model worker, for the window and for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from medviewer.api.plugin import TaskInfo
from medviewer.app.run_tasks import cannot
from medviewer.core.errors import InputError
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, NullContext
from medviewer.jobs.worker import WorkerProcess
from medviewer.plugin_host.registry import PluginRegistry
from medviewer.plugin_host.run_session import ANSWER, CLOSE, SessionAnswer, SessionPayload

Mask = npt.NDArray[np.bool_]


class WorkerSession:
    """A model bound to a volume, in the worker; the volume crosses once.

    A worker that died, or has closed the session meanwhile, is given the volume again and all prompts.

    Parameters
    ----------
    worker : WorkerProcess
    registry : PluginRegistry
    task : TaskInfo
    volume : Volume
    parameters : mapping, optional
        Values of the task's parameters; what is missing keeps its default.

    Raises
    ------
    InputError
        ``E_MODEL_INPUT``: the volume is not what the task can work on, or the task takes no prompts.
    """

    def __init__(
        self,
        worker: WorkerProcess,
        registry: PluginRegistry,
        task: TaskInfo,
        volume: Volume,
        parameters: Mapping[str, object] | None = None,
    ) -> None:
        reason = cannot(task, volume)
        if task.kind != "interactive":
            raise InputError(
                f"{task.title} takes no clicks.", hint="Choose an interactive model.", code="E_MODEL_INPUT"
            )
        if reason:
            raise InputError(
                f"{task.title} cannot run on “{volume.name}”: it {reason}.",
                hint="Choose another series or another model, or draw by hand.",
                code="E_MODEL_INPUT",
            )
        self.volume = volume
        self._worker = worker
        self._source = registry.source(task.id)
        self.parameters = dict(parameters or {})
        self._key = uuid4().hex

    def answer(self, ctx: JobContext, shown: Sequence[Prompt], wanted: Sequence[Prompt]) -> SessionAnswer:
        """Return how the object of the wanted prompts differs from that of the shown ones.

        Raises
        ------
        InputError, TaskError, WorkerDied, OutOfMemory, PluginError, JobCancelled
        """
        for volume in (None, self.volume.at_one_time()):
            payload = SessionPayload(
                key=self._key,
                source=self._source,
                parameters=self.parameters,
                shown=tuple(shown),
                wanted=tuple(wanted),
                volume=volume,
            )
            answer = self._worker.call(ANSWER, payload, ctx, device=ctx.device)
            if answer is not None:
                break
        assert isinstance(answer, SessionAnswer)
        return answer

    def close(self) -> None:
        """Free what the worker holds; one that does not run holds nothing."""
        if self._worker.pid is not None:
            self._worker.call(CLOSE, self._key, NullContext())


class Interaction:
    """What ``mv.interactive`` returns: prompts in, the object's mask out.

    Attributes
    ----------
    mask : bool, shape (k, j, i) of the volume
        The whole object; a copy of its own.
    prompts : tuple of Prompt
        All that count.
    """

    def __init__(self, session: WorkerSession, ctx: JobContext) -> None:
        self._session = session
        self._ctx = ctx
        self._mask = np.zeros(session.volume.array.shape, bool)
        self.prompts: tuple[Prompt, ...] = ()

    @property
    def mask(self) -> Mask:
        """The whole object."""
        return self._mask.copy()

    def add(self, prompt: Prompt) -> tuple[Region, Mask]:
        """Take a prompt.

        Returns
        -------
        region : Region
            Box (k, j, i) that holds everything that changed.
        mask : bool, shape of the region
            The object inside it.

        Raises
        ------
        MedViewerError
            With `.code`, `.text` and `.hint`; the prompt then does not count.
        """
        return self._go_to((*self.prompts, prompt))

    def undo(self) -> tuple[Region, Mask] | None:
        """Take the last prompt back; returns as `add` does, or None when there is none."""
        return self._go_to(self.prompts[:-1]) if self.prompts else None

    def close(self) -> None:
        """Free what the worker holds; the mask stays."""
        self._session.close()

    def __enter__(self) -> Interaction:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _go_to(self, wanted: tuple[Prompt, ...]) -> tuple[Region, Mask]:
        answer = self._session.answer(self._ctx, self.prompts, wanted)
        self._mask[answer.region.slices] = answer.after
        self.prompts = wanted
        return answer.region, answer.after
