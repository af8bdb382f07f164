"""Answers prompts with nnInteractive on a server that the user names: the image is sent there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt

from medviewer.api import Doc, InputError, InteractiveSession, JobContext, Prompt, Readiness, Region, Volume
from medviewer.api.formats import prompt_marks
from mv_nninteractive.server import NoImage, Server

Mask = npt.NDArray[np.bool_]

#: Whose image each server holds: its own last session.
_holding: dict[str, RemoteSession] = {}


@dataclass(frozen=True, slots=True)
class RemoteParams:
    """Which server, and that it may see the image."""

    server: Annotated[str, Doc("Address of your nnInteractive server, for example http://name:1527")] = ""
    may_send: Annotated[
        bool, Doc("Images that are clicked on leave this computer: they are sent to the server as they are")
    ] = False


class Remote:
    """Opens sessions on a server."""

    def check(self) -> Readiness:
        """Ready: whether there is a server is asked when a session is opened."""
        return Readiness(ok=True)

    def open(self, ctx: JobContext, volume: Volume, params: RemoteParams) -> InteractiveSession:
        """Bind a server to a volume; nothing is sent before the first prompt."""
        if not params.server.strip():
            raise InputError(
                "No nnInteractive server is named.",
                hint="Enter its address among the options of the click tool; what is clicked on is sent there.",
                code="E_NO_SERVER",
            )
        if not params.may_send:
            raise InputError(
                "It is not allowed yet to send images to the server.",
                hint="Tick “May send” among the options of the click tool if the image may leave this computer.",
                code="E_NOT_ALLOWED",
            )
        return RemoteSession(volume, params.server)


class RemoteSession:
    """An `InteractiveSession` on a server; what was found is kept here, so that a server that forgot can be told."""

    prompts = frozenset({"point", "box", "scribble", "lasso"})

    def __init__(self, volume: Volume, address: str) -> None:
        self._volume = volume
        self._address = address
        self._server = Server(address)
        self._mask = np.zeros(volume.array.shape, bool)
        #: One bit a voxel: an object for each prompt.
        self._before: list[npt.NDArray[np.uint8]] = []
        #: Whether the server has another object than this one.
        self._stale = False

    def add(self, ctx: JobContext, prompt: Prompt) -> tuple[Region, Mask]:
        """Send a prompt; return the box that changed and the object's mask inside it."""
        marks = prompt_marks(prompt, self._volume)
        self._bring_up_to_date(ctx)
        ctx.progress(None, "Waiting for the server")
        try:
            found = self._asked(prompt, marks)
        except NoImage:
            _holding.pop(self._address, None)
            self._bring_up_to_date(ctx)
            found = self._asked(prompt, marks)
        self._before.append(np.packbits(self._mask))
        return self._changed_to(found)

    def undo(self) -> tuple[Region, Mask] | None:
        """Take the last prompt back, here; the server is told before the next one."""
        if not self._before:
            return None
        bits = self._before.pop()
        self._stale = True
        return self._changed_to(np.unpackbits(bits, count=self._mask.size).astype(bool).reshape(self._mask.shape))

    def close(self) -> None:
        """Close the connection."""
        self._before.clear()
        self._server.close()
        if _holding.get(self._address) is self:
            del _holding[self._address]

    def _bring_up_to_date(self, ctx: JobContext) -> None:
        """Send the image when the server has another one, and the object when it has another."""
        if _holding.get(self._address) is not self:
            ctx.progress(None, f"Sending the image to {self._address}")
            self._server.send_image(self._volume.array)
            _holding[self._address] = self
            self._stale = bool(self._mask.any())
        if self._stale:
            self._server.send_object(self._mask)
            self._stale = False

    def _asked(self, prompt: Prompt, marks: list[tuple[Region, npt.NDArray[np.float32]]]) -> Mask:
        shape, found = self._mask.shape, self._mask
        for region, values in marks:
            if prompt.kind == "point":
                peak = np.unravel_index(int(values.argmax()), values.shape)
                place = tuple(int(p) + low for p, low in zip(peak, region.lower, strict=True))
                found = self._server.point(place, prompt.positive, shape)
            elif prompt.kind == "box":
                found = self._server.box(region.lower, region.upper, prompt.positive, shape)
            else:
                drawn = np.zeros(shape, bool)
                drawn[region.slices] = values > 0
                found = self._server.drawn(prompt.kind, drawn, prompt.positive)
        return found

    def _changed_to(self, found: Mask) -> tuple[Region, Mask]:
        region = Region.of_mask(found != self._mask) or Region((0, 0, 0), (0, 0, 0))
        self._mask = found
        return region, found[region.slices].copy()
