"""Errors a person can read: a stable code, a sentence, and what to do next."""

from __future__ import annotations


class MedViewerError(Exception):
    """A refusal that names what happened and what the user can do.

    Attributes
    ----------
    code : str
        Stable identifier, for example ``E_TRUNCATED``; scripts may rely on it.
    text : str
        One sentence: what happened, and to which file or series.
    hint : str
        One sentence: what the user can do next.
    """

    code = "E_ERROR"

    def __init__(self, text: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.text, self.hint, self.code))

    def __str__(self) -> str:
        return f"{self.text} {self.hint}".strip()


def _rebuild(cls: type[MedViewerError], text: str, hint: str, code: str) -> MedViewerError:
    error = cls.__new__(cls)
    MedViewerError.__init__(error, text, hint=hint, code=code)
    return error


class InputError(MedViewerError):
    """What was given cannot be read: a file, a folder, a parameter."""

    code = "E_INPUT"


class GeometryError(InputError):
    """Positions, orientations or spacings that do not describe a grid."""

    code = "E_GEOMETRY"


class DecodeError(InputError):
    """Pixel data that cannot be decoded."""

    code = "E_CODEC"


class TaskError(MedViewerError):
    """An analysis task that failed."""

    code = "E_TASK"


class WorkerDied(TaskError):
    """The process that ran a job ended before the job did."""

    code = "E_WORKER_DIED"


class OutOfMemory(TaskError):
    """Not enough memory for what was asked."""

    code = "E_OOM"


class ExportError(MedViewerError):
    """An export that could not be written, or did not read back as it was written."""

    code = "E_EXPORT"


class WorkspaceError(MedViewerError):
    """A saved workspace or a journal that cannot be used."""

    code = "E_WORKSPACE"


class PluginError(MedViewerError):
    """A plugin that is broken or not ready."""

    code = "E_PLUGIN"
