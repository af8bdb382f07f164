"""Ten thousand uses of the real tools: undo and redo exact, locks and rules never broken."""

from __future__ import annotations

import os

import pytest

from tests.tool_moves import ToolWorld

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * 3600)]
USES = int(os.environ.get("MEDVIEWER_TOOL_USES", "10000"))


def test_ten_thousand_random_uses_keep_the_laws() -> None:
    world = ToolWorld(16)
    for _ in range(USES):
        world.act()
    while world.history.can_undo:
        world.history.undo()
        assert world.state() == world.states[len(world.history.done)]
    while world.history.can_redo:
        world.history.redo()
        assert world.state() == world.states[len(world.history.done)]
    print(f"{USES} uses; steps made by tool: {world.made}")
