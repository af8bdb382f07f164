"""Text from files is shown as text, never as markup."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from medviewer.core import shown_text
from medviewer.core.dicom_ref import Stacking
from medviewer.core.geometry import Vec3
from medviewer.core.provenance import Provenance
from medviewer.core.shown_text import counted as counted
from medviewer.core.shown_text import dicom_date as dicom_date
from medviewer.core.volume import Volume


def plain_tip(text: str) -> str:
    """Return a tool tip that wraps and that Qt cannot take for the markup that a file may hold."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", "<br>")
    return f"<qt>{escaped}</qt>" if text else ""


def plain_menu(text: str) -> str:
    """Return a text for a menu or button, where ``&`` would mark a key."""
    return text.replace("&", "&&")


def label(
    text: str = "", *, name: str = "", role: str = "", wrap: bool = False, parent: QWidget | None = None
) -> QLabel:
    """Return a label that shows `text` as it is.

    Parameters
    ----------
    name : str
        Object name.
    role : str
        ``soft``, ``good``, ``warning``, ``error``, ``heading``, ``title`` or ``number``; see the style sheet.
    """
    made = QLabel(parent)
    made.setTextFormat(Qt.TextFormat.PlainText)
    made.setText(text)
    made.setObjectName(name)
    if role:
        made.setProperty("role", role)
    if wrap:
        made.setWordWrap(True)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        made.setSizePolicy(policy)
    return made


def lps_text(lps: Vec3) -> str:
    """Return a position as a radiologist reads it: ``L 34.2  P 12.0  H 101.5 mm``."""
    names = (("L", "R"), ("P", "A"), ("H", "F"))
    parts = [
        f"{plus if value >= 0 else minus} {abs(value):.1f}" for value, (plus, minus) in zip(lps, names, strict=True)
    ]
    return "  ".join(parts) + " mm"


def size_texts(
    size: tuple[int, int, int], spacing: Vec3 | None, stacking: Stacking = "place", *, in_mm: bool = True
) -> list[str]:
    """Return the size of an image for people: voxels and mm; pixels and frames where k is no direction in space."""
    i, j, k = size
    if stacking == "place":
        lines = [f"{i} × {j} × {k} voxels"]
        return [*lines, "{:.3g} × {:.3g} × {:.3g} mm".format(*spacing)] if spacing and in_mm else lines
    what = counted(k, "frame" if stacking == "time" else "picture")
    lines = [f"{i} × {j} pixels" + (f", {what}" if k > 1 or stacking == "time" else "")]
    if in_mm:
        return [*lines, "{:.3g} × {:.3g} mm".format(*spacing)] if spacing else lines
    return [*lines, "no length known"]


def voxel_text(kji: tuple[int, int, int], volume: Volume | None = None) -> str:
    """Return a voxel (k, j, i) by its index; in a picture or film column and row, px, and which frame."""
    k, j, i = kji
    if volume is None or volume.stacking == "place":
        return f"i {i}  j {j}  k {k}"
    which = {"time": f"  frame {k + 1}", "number": f"  picture {k + 1}"}[volume.stacking]
    return f"x {i}  y {j} px{which if volume.geometry.size[2] > 1 else ''}"


def person_name(name: str) -> str:
    """Return a DICOM person name (``Doe^Jane``) for people; one that is empty is said to be missing."""
    return shown_text.person_name(name) or "No name"


def made_by(run: Provenance) -> str:
    """Return who or what made a result, one fact a line: task or model with version and hash, where and how long."""
    if run.model:
        lines = [f"Made by the model {run.model} {run.model_version}".rstrip()]
    else:
        lines = [f"Made by {run.task} {run.version}".rstrip()]
    if run.weights_sha256:
        lines.append(f"Weights SHA-256 {run.weights_sha256[:16]}…")
    if run.device:
        lines.append(f"On {run.device} in {duration(run.seconds)}")
    return "\n".join([*lines, *([run.started] if run.started else [])])


def device_name(device: str) -> str:
    """Return where something is computed, for people."""
    return {"cpu": "CPU", "cuda": "GPU", "auto": "GPU or CPU"}.get(device.partition(":")[0], device)


def duration(seconds: float) -> str:
    """Return a time for people: ``0.4 s``, ``12 s``, ``3 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
