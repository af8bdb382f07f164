"""What is looked at: observable, and saved with the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from medviewer.core.annotation import Box3D
from medviewer.core.geometry import Vec3
from medviewer.core.region import Region
from medviewer.core.segmentation import Color, Mask, Segment
from medviewer.core.tilt import Tilt

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")


@dataclass(frozen=True, slots=True)
class WindowLevel:
    """WindowCenter (0028,1050) and WindowWidth (0028,1051), in the unit of the volume."""

    center: float
    width: float

    @property
    def lower(self) -> float:
        """Value shown black."""
        return self.center - self.width / 2

    @property
    def upper(self) -> float:
        """Value shown white."""
        return self.center + self.width / 2


#: Colours as they are stored.
TRUE_COLOR = WindowLevel(127.5, 255.0)


LabelStyle = Literal["both", "outline", "fill"]
#: In the order in which a key goes through them.
LABEL_STYLES: tuple[LabelStyle, ...] = ("both", "outline", "fill")
MAX_OUTLINE = 6


@dataclass(frozen=True, slots=True)
class LabelLook:
    """How segments are drawn over slices.

    Attributes
    ----------
    width : int
        Of the outline, pixels of the screen, 1 to `MAX_OUTLINE`.
    only_active : bool
        Whether the active segment alone is shown, in 3D too; all while none is active.
    neighbors : bool
        Whether the outline that the active segment has in the slice before and in the one behind is dashed over it.
    """

    style: LabelStyle = "both"
    width: int = 1
    only_active: bool = False
    neighbors: bool = False

    def __post_init__(self) -> None:
        if self.style not in LABEL_STYLES or not 1 <= self.width <= MAX_OUTLINE:
            raise ValueError(f"no look of segments: {self.style}, {self.width}")

    def shows(self, segment: Segment, active: int) -> bool:
        """Whether a segment is seen, where the one with the value `active` is active (0: none)."""
        return segment.visible and segment.opacity > 0 and (not self.only_active or active in (0, segment.value))


@dataclass(frozen=True, slots=True, eq=False)
class PreviewMask:
    """Voxels that a tool would add to a segment, or take away.

    Attributes
    ----------
    region : Region
        Half-open box (k, j, i) of the active volume.
    mask : bool, shape of the region
    color : (int, int, int)
        sRGB 0..255.
    removed : bool
        Whether they would be taken away.
    """

    region: Region
    mask: Mask
    color: Color
    removed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MaskDifference:
    """How two masks of one image differ: shown over slices in the place of segments.

    Attributes
    ----------
    volume_id : str
    region : Region
        Half-open box (k, j, i) that holds both.
    codes : uint8, shape of the region
        `ONLY_FIRST`, `ONLY_SECOND` or `IN_BOTH`; 0 where neither is.
    names : (str, str)
        Of the two.
    """

    volume_id: str
    region: Region
    codes: npt.NDArray[np.uint8]
    names: tuple[str, str]


#: Codes of a `MaskDifference`.
ONLY_FIRST, ONLY_SECOND, IN_BOTH = 1, 2, 3


class ViewState:
    """Crosshair, window and overlay appearance, shared by all views.

    Signals
    -------
    crosshair_changed(Vec3)
        LPS mm.
    window_changed(WindowLevel)
        The window, or whether it is inverted.
    overlay_changed()
        Opacity and look of segments, what is shown in their place, or crosshair visibility.
    maximised_changed(str)
        Name of the one visible view, empty for all.
    selected_box_changed(str)
        Id of the finding that is looked at, empty for none.
    filter_changed()
        Which findings are shown.
    preview_changed()
        What a tool would change, or how strongly it is shown.
    tilt_changed()
        How the planes are turned against the grid of the image.
    """

    crosshair_changed = Signal(tuple)
    window_changed = Signal(object)
    overlay_changed = Signal()
    maximised_changed = Signal(str)
    selected_box_changed = Signal(str)
    filter_changed = Signal()
    preview_changed = Signal()
    tilt_changed = Signal()

    def __init__(self) -> None:
        self._crosshair: Vec3 = (0.0, 0.0, 0.0)
        self._window = WindowLevel(40.0, 400.0)
        self._inverted = False
        self._overlay_opacity = 0.45
        self._look = LabelLook()
        self._difference: MaskDifference | None = None
        self._crosshair_visible = True
        self._maximised = ""
        self._selected_box = ""
        self._least_score = 0.0
        self._shown_task = ""
        self._preview: tuple[PreviewMask, ...] = ()
        self._preview_opacity = 0.6
        self._tilt: Tilt | None = None

    @property
    def crosshair_lps(self) -> Vec3:
        """The point all views show, LPS mm."""
        return self._crosshair

    @crosshair_lps.setter
    def crosshair_lps(self, lps: Vec3) -> None:
        if lps != self._crosshair:
            self._crosshair = lps
            self.crosshair_changed.emit(lps)

    @property
    def window(self) -> WindowLevel:
        """Window of the images."""
        return self._window

    @window.setter
    def window(self, window: WindowLevel) -> None:
        window = WindowLevel(window.center, max(window.width, 1e-6))
        if window != self._window:
            self._window = window
            self.window_changed.emit(window)

    @property
    def inverted(self) -> bool:
        """Whether high values are dark, as PET is read."""
        return self._inverted

    @inverted.setter
    def inverted(self, inverted: bool) -> None:
        if inverted != self._inverted:
            self._inverted = inverted
            self.window_changed.emit(self._window)

    @property
    def overlay_opacity(self) -> float:
        """Opacity of the label fill, 0..1."""
        return self._overlay_opacity

    @overlay_opacity.setter
    def overlay_opacity(self, opacity: float) -> None:
        opacity = min(1.0, max(0.0, opacity))
        if opacity != self._overlay_opacity:
            self._overlay_opacity = opacity
            self.overlay_changed.emit()

    @property
    def look(self) -> LabelLook:
        """How segments are drawn over slices."""
        return self._look

    @look.setter
    def look(self, look: LabelLook) -> None:
        if look != self._look:
            self._look = look
            self.overlay_changed.emit()

    @property
    def difference(self) -> MaskDifference | None:
        """What is shown in the place of segments; never saved."""
        return self._difference

    @difference.setter
    def difference(self, difference: MaskDifference | None) -> None:
        if difference is not self._difference:
            self._difference = difference
            self.overlay_changed.emit()

    @property
    def crosshair_visible(self) -> bool:
        """Whether the crosshair is drawn."""
        return self._crosshair_visible

    @crosshair_visible.setter
    def crosshair_visible(self, visible: bool) -> None:
        if visible != self._crosshair_visible:
            self._crosshair_visible = visible
            self.overlay_changed.emit()

    @property
    def maximised(self) -> str:
        """Name of the one visible view, empty for all four."""
        return self._maximised

    @maximised.setter
    def maximised(self, name: str) -> None:
        if name != self._maximised:
            self._maximised = name
            self.maximised_changed.emit(name)

    @property
    def selected_box(self) -> str:
        """Id of the finding that is looked at, empty for none."""
        return self._selected_box

    @selected_box.setter
    def selected_box(self, box_id: str) -> None:
        if box_id != self._selected_box:
            self._selected_box = box_id
            self.selected_box_changed.emit(box_id)

    @property
    def least_score(self) -> float:
        """Findings that a task gave a lower score are not shown, 0..1."""
        return self._least_score

    @least_score.setter
    def least_score(self, score: float) -> None:
        if score != self._least_score:
            self._least_score = score
            self.filter_changed.emit()

    @property
    def shown_task(self) -> str:
        """Id of the task whose findings alone are shown, empty for all."""
        return self._shown_task

    @shown_task.setter
    def shown_task(self, task: str) -> None:
        if task != self._shown_task:
            self._shown_task = task
            self.filter_changed.emit()

    @property
    def preview(self) -> tuple[PreviewMask, ...]:
        """What the active tool would change; never saved."""
        return self._preview

    @preview.setter
    def preview(self, preview: tuple[PreviewMask, ...]) -> None:
        if preview or self._preview:
            self._preview = preview
            self.preview_changed.emit()

    @property
    def preview_opacity(self) -> float:
        """How strongly it is shown, 0..1; it pulses."""
        return self._preview_opacity

    @preview_opacity.setter
    def preview_opacity(self, opacity: float) -> None:
        if opacity != self._preview_opacity:
            self._preview_opacity = opacity
            self.preview_changed.emit()

    @property
    def tilt(self) -> Tilt | None:
        """Rotation (LPS) of all three planes against the grid of the active volume; None: they follow the grid."""
        return self._tilt

    @tilt.setter
    def tilt(self, tilt: Tilt | None) -> None:
        if tilt != self._tilt:
            self._tilt = tilt
            self.tilt_changed.emit()

    def shows(self, box: Box3D) -> bool:
        """Whether a finding is shown; what a reader has accepted has no need of a score."""
        weak = box.score is not None and box.score < self._least_score and box.review != "accepted"
        return not weak and self._shown_task in ("", box.provenance.task)
