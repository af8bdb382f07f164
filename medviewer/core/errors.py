"""Errors a person can read: a stable code, a sentence, and what to do next."""

from __future__ import annotations

#: What helps for a code, whoever raises it.
_HINTS = {
    "E_NOT_DICOM": "Choose a DICOM or NIfTI file, a picture, a folder or an archive.",
    "E_FILE": "Check that the file is there and that you may read it.",
    "E_ARCHIVE": "Copy or download the archive again.",
    "E_TRUNCATED": "The file is cut short. Copy it again from where it came from.",
    "E_PIXEL_LENGTH": "The file is cut short or damaged. Copy it again from where it came from.",
    "E_MOSAIC": "Convert it to single slices first, for example with dcm2niix, and open those.",
    "E_AFFINE": "Its orientation was lost when it was written. Ask for the original images.",
    "E_4D": "Split it into 3-D volumes first.",
    "E_NO_SPACING": "The images can be looked at elsewhere; measuring needs the original series.",
    "E_PARAMETER": "Correct the value and run the task again.",
}


def hint_for(code: str) -> str:
    """Return what helps for a code whoever raises it; empty for a code without such a hint."""
    return _HINTS.get(code, "")


class MedViewerError(Exception):
    """A refusal that names what happened and what the user can do.

    Attributes
    ----------
    code : str
        Stable identifier, for example ``E_TRUNCATED``; scripts may rely on it.
    text : str
        One sentence: what happened, and to which file or series.
    hint : str
        One sentence: what the user can do next; never empty.
    """

    code = "E_ERROR"
    #: What helps when whoever raised knew nothing more exact.
    usual_hint = "Try again; if it happens again, report it with the log."

    def __init__(self, text: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        if code is not None:
            self.code = code
        self.hint = hint or _HINTS.get(self.code, self.usual_hint)

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
    usual_hint = "Choose another file or series."


class GeometryError(InputError):
    """Positions, orientations or spacings that do not describe a grid."""

    code = "E_GEOMETRY"
    usual_hint = "Its slices cannot be put together as a volume. Ask for the original images."


class DecodeError(InputError):
    """Pixel data that cannot be decoded."""

    code = "E_CODEC"
    usual_hint = "Get the file again from where it came from. The other series can still be opened."


class TaskError(MedViewerError):
    """An analysis task that failed."""

    code = "E_TASK"
    usual_hint = "Nothing was changed. Try again; if it happens again, report it with the log."


class WorkerDied(TaskError):
    """The process that ran a job ended before the job did."""

    code = "E_WORKER_DIED"


class OutOfMemory(TaskError):
    """Not enough memory for what was asked."""

    code = "E_OOM"
    usual_hint = "Close other programs or studies and try again."


class ExportError(MedViewerError):
    """An export that could not be written, or did not read back as it was written."""

    code = "E_EXPORT"
    usual_hint = "Nothing was written. Choose another folder or format."


class WorkspaceError(MedViewerError):
    """A saved workspace or a journal that cannot be used."""

    code = "E_WORKSPACE"
    usual_hint = "Nothing was changed. Save under another name."


class LibraryError(MedViewerError):
    """The library of studies cannot be read or written."""

    code = "E_LIBRARY"
    usual_hint = "Studies can still be opened from their folders."


class PluginError(MedViewerError):
    """A plugin that is broken or not ready."""

    code = "E_PLUGIN"
    usual_hint = "Update or remove the plugin."
