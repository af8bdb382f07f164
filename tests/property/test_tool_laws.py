"""Laws of all tools: what was done is undone exactly, locks and rules hold, whatever the pointer does."""

from __future__ import annotations

import pytest

from tests.tool_moves import ToolWorld


@pytest.mark.parametrize("seed", [1, 2])
def test_random_work_with_every_tool_keeps_the_laws(seed: int) -> None:
    world = ToolWorld(seed)
    for _ in range(150):
        world.act()
    assert len(world.made) > 10, "most tools get to do something"
