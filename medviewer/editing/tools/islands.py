"""Islands: the parts of a segment that do not touch each other, kept, removed, moved or made segments of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from medviewer.core.params import Doc, Range, SegmentChoice
from medviewer.core.prompt import Prompt
from medviewer.core.region import Kji, Region
from medviewer.core.segmentation import Mask
from medviewer.editing.change import Change, NewSegment, SegmentMask
from medviewer.editing.editor import EditRefused
from medviewer.editing.effect import Compute, EditScene
from medviewer.editing.shaping import flat_axis
from medviewer.editing.tool import BaseTool, CursorSpec, Key, PointerEvent, tool

if TYPE_CHECKING:
    from medviewer.core.geometry import Vec3
    from medviewer.imaging.islands import Islands as Found

Action = Literal["keep largest", "remove small", "split", "keep clicked", "remove clicked", "move clicked"]
#: More segments than this help nobody; they would be noise.
MOST_NEW = 200


@dataclass(slots=True)
class IslandsOptions:
    """Options of the tool."""

    action: Annotated[
        Action, Doc("Split: each part becomes a segment, the largest stays what it is. Clicked: click parts in a slice")
    ] = "keep largest"
    minimum: Annotated[
        float, Range(0.0, 1e9, 100.0), Doc("What is smaller is removed, or not made a segment of its own")
    ] = 1000.0
    unit: Literal["cubic mm", "voxels"] = "cubic mm"
    touch: Annotated[Literal["faces", "edges", "corners"], Doc("What two voxels have to share to belong together")] = (
        "faces"
    )
    move_to: Annotated[int, SegmentChoice(), Doc("Where clicked parts are moved")] = 0


@tool("islands", "Islands", shortcut="Shift+I", group="shape")
class Islands(BaseTool):
    """Works on the parts of the active segment; a click picks one, with Ctrl it takes the nearest click back."""

    live: ClassVar[bool] = True
    stays: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.options = IslandsOptions()
        self._clicks: list[Vec3] = []

    @property
    def cursor(self) -> CursorSpec:
        """A cross where parts are clicked, and the clicks so far."""
        if not self._picks:
            return CursorSpec()
        positive = self.options.action != "remove clicked"
        prompts = (Prompt(kind="point", positive=positive, points=(lps,)) for lps, _ in self._places())
        return CursorSpec("cross", prompts=tuple(prompts))

    def deactivate(self) -> None:
        """Stop, and forget the clicks."""
        super().deactivate()
        self._clicks.clear()

    def pointer(self, event: PointerEvent) -> bool:
        """Choose a part of the segment."""
        if self.ctx is None or not self._picks or event.phase != "press":
            return False
        target = self.ctx.editor.target
        kji = target.geometry.voxel_at(event.lps)
        active = target.find(target.active)
        if active is None or kji is None or int(target.labels_of(active.value)[kji]) != active.value:
            raise EditRefused("There is nothing of the active segment here.", hint="Click one of its parts.")
        if "ctrl" in event.modifiers:
            if self._clicks:
                self._clicks.remove(min(self._clicks, key=lambda lps: math.dist(lps, event.lps)))
        else:
            self._clicks.append(event.lps)
        return True

    def key(self, key: Key) -> bool:
        """Take back the last click with Backspace, and all with Esc."""
        if key == "apply" or not self._picks or not self._places():
            return False
        self._clicks = [] if key == "cancel" else self._clicks[:-1]
        return True

    @property
    def _picks(self) -> bool:
        return self.options.action.endswith("clicked")

    def _places(self) -> list[tuple[Vec3, Kji]]:
        """Return the clicks whose voxel still is of the active segment."""
        if self.ctx is None:
            return []
        target = self.ctx.editor.target
        found = [(lps, target.geometry.voxel_at(lps)) for lps in self._clicks]
        if target.find(target.active) is None:
            return []
        labels = target.labels_of(target.active)
        return [(lps, kji) for lps, kji in found if kji is not None and int(labels[kji]) == target.active]

    def plan(self, scene: EditScene) -> Compute | None:
        """Keep, remove, move or split."""
        options, places = replace(self.options), [kji for _, kji in self._places()]
        if self._picks and not places:
            return None
        if options.action == "move clicked":
            other = scene.segmentation.find(options.move_to)
            if other is None or other.value == scene.segment.value:
                raise EditRefused("Choose the segment to move to.", hint="It is in the options of the tool.")
        return lambda _ctx: _change(scene, options, places)


def _change(scene: EditScene, options: IslandsOptions, places: list[Kji]) -> Change:
    from medviewer.imaging.islands import Islands as Found

    box = scene.box()
    label = f"Islands: {options.action}"
    if box is None:
        return Change(label)
    mask = scene.mask(region=box)
    found = Found.of(mask, options.touch, flat=flat_axis(scene))
    least = options.minimum
    if options.unit == "cubic mm":
        least /= scene.geometry.voxel_volume_mm3
    if options.action == "split":
        return _split(scene, label, box, found, least)
    if options.action in ("keep largest", "remove small"):
        largest = options.action == "keep largest"
        kept = found.largest() if largest else found.at_least(least)
        stay = 1 if largest else int((found.sizes[1:] >= least).sum())
        return replace(_becomes(scene, label, box, kept), note=f"{stay} of {found.count} parts stay")
    k, j, i = box.lower
    picked = found.at([(place[0] - k, place[1] - j, place[2] - i) for place in places])
    if options.action == "keep clicked":
        return _becomes(scene, label, box, picked)
    change = _becomes(scene, label, box, mask & ~picked)
    if options.action == "move clicked":
        gained = scene.mask(options.move_to, box) | picked
        return replace(change, masks=(*change.masks, SegmentMask(options.move_to, box, gained)))
    return change


def _becomes(scene: EditScene, label: str, box: Region, mask: Mask) -> Change:
    return Change(label, (SegmentMask(scene.segment.value, box, mask),))


def _split(scene: EditScene, label: str, box: Region, found: Found, least: float) -> Change:
    """Make every island but the largest a segment; what is too small for one stays where it is."""
    boxes = found.boxes()
    parts = [number for number in found.by_size[1:] if found.sizes[number] >= least]
    if len(parts) > MOST_NEW:
        raise EditRefused(
            f"{len(parts) + 1} parts are too many for segments of their own.",
            hint="Make the least size bigger, or remove the small ones first.",
        )
    segment = scene.segment
    kin = [s.instance for s in scene.segmentation.segments if s.instance and s.label == segment.label]
    taken = max([1, *kin])
    new, rest = [], scene.mask(region=box)
    for n, number in enumerate(parts, start=taken + 1):
        place = boxes[number - 1]
        part = found.labels[place.slices] == number
        rest[place.slices] &= ~part
        new.append(NewSegment(f"{segment.label} {n}", place.moved(box.lower), part, n))
    note = f"{len(new)} new segments"
    return Change(label, (SegmentMask(segment.value, box, rest),), tuple(new), note)
