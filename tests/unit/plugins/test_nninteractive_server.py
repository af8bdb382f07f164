"""nnInteractive on a server: what is sent, when, what comes back, and what it says when it fails."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from medviewer.core.errors import InputError, MedViewerError, TaskError
from medviewer.core.geometry import Geometry, vec3
from medviewer.core.prompt import Prompt
from medviewer.core.region import Region
from medviewer.core.volume import Volume
from medviewer.jobs.job import NullContext
from mv_nninteractive import remote, server
from mv_nninteractive.remote import Remote, RemoteParams, RemoteSession
from tests.nninteractive_server import Held, serving

SHAPE = (14, 20, 26)


@pytest.fixture
def volume() -> Volume:
    array = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    return Volume(array, Geometry(SHAPE[::-1], (1.0, 1.0, 2.5), (3, 4, 5), (1, 0, 0, 0, -1, 0, 0, 0, -1)))


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def address(held: Held) -> Iterator[str]:
    remote._holding.clear()
    with serving(held) as place:
        yield place


def point(volume: Volume, *kji: float, positive: bool = True) -> Prompt:
    return Prompt(kind="point", positive=positive, points=(vec3(volume.geometry.index_to_lps(kji[::-1])),))


def opened(volume: Volume, address: str) -> RemoteSession:
    session = Remote().open(NullContext(), volume, RemoteParams(address, may_send=True))
    assert isinstance(session, RemoteSession)
    return session


def test_nothing_is_sent_before_a_server_is_named_and_sending_allowed(volume: Volume, held: Held, address: str) -> None:
    for params, code in (
        (RemoteParams(), "E_NO_SERVER"),
        (RemoteParams("", may_send=True), "E_NO_SERVER"),
        (RemoteParams(address), "E_NOT_ALLOWED"),
        (RemoteParams("ftp://somewhere", may_send=True), "E_ADDRESS"),
    ):
        with pytest.raises(InputError) as caught:
            Remote().open(NullContext(), volume, params)
        assert caught.value.code == code
    opened(volume, address)
    assert held.asked == []


def test_the_image_goes_once_prompts_go_as_indices_and_the_object_comes_back(
    volume: Volume, held: Held, address: str
) -> None:
    session = opened(volume, address)
    shown = np.zeros(SHAPE, bool)
    corners = [(4, 5, 6), (4, 12, 15)]
    box = Prompt(kind="box", positive=True, points=tuple(vec3(volume.geometry.index_to_lps(c[::-1])) for c in corners))
    area = np.ones((1, 3, 3), bool)
    scribble = Prompt(kind="scribble", positive=True, crop=(Region((10, 2, 2), (11, 5, 5)), area))
    lasso = Prompt(kind="lasso", positive=False, crop=(Region((4, 5, 6), (5, 8, 9)), area))
    for prompt in (point(volume, 7, 8, 9), box, scribble, lasso, point(volume, 7, 8, 9, positive=False)):
        region, mask = session.add(NullContext(), prompt)
        shown[region.slices] = mask
        assert held.object is not None
        assert np.array_equal(shown, held.object)
    assert np.array_equal(held.image, volume.array)
    assert [path for path, _ in held.asked] == [
        "/upload_image", "/add_point_interaction", "/add_bbox_interaction", "/add_scribble_interaction",
        "/add_lasso_interaction", "/add_point_interaction",
    ]  # fmt: skip
    assert held.asked[1][1] == {"voxel_coord": [7, 8, 9], "positive_click": True}
    assert held.asked[2][1] == {"outer_point_one": [4, 5, 6], "outer_point_two": [5, 13, 16], "positive_click": True}


def test_undo_is_here_and_the_server_is_told_before_the_next_prompt(volume: Volume, held: Held, address: str) -> None:
    session = opened(volume, address)
    shown = np.zeros(SHAPE, bool)
    states = []
    for kji in ((3, 4, 5), (8, 9, 10)):
        states.append(shown.copy())
        region, mask = session.add(NullContext(), point(volume, *kji))
        shown[region.slices] = mask
    undone = session.undo()
    assert undone is not None
    shown[undone[0].slices] = undone[1]
    assert np.array_equal(shown, states[1])
    region, mask = session.add(NullContext(), point(volume, 11, 15, 20))
    shown[region.slices] = mask
    assert [path for path, _ in held.asked][-2:] == ["/upload_segment", "/add_point_interaction"]
    assert not shown[8, 9, 10]
    assert shown[3, 4, 5]
    assert shown[11, 15, 20]
    while session.undo() is not None:
        pass
    assert not session._mask.any()


def test_a_server_that_was_started_anew_or_serves_another_image_is_told_again(
    volume: Volume, held: Held, address: str
) -> None:
    one, two = opened(volume, address), opened(volume, address)
    one.add(NullContext(), point(volume, 3, 4, 5))
    two.add(NullContext(), point(volume, 8, 9, 10))
    one.add(NullContext(), point(volume, 11, 15, 20))
    assert one._mask[3, 4, 5]
    assert not one._mask[8, 9, 10]
    held.image = held.object = None
    one.add(NullContext(), point(volume, 8, 9, 10))
    assert one._mask[[3, 11, 8], [4, 15, 9], [5, 20, 10]].all()


@pytest.mark.parametrize(
    ("change", "reason", "code"),
    [
        ({"status": 500}, "HTTP status 500", "E_SERVER"),
        ({"redirect": "http://elsewhere.example/"}, "HTTP status 302", "E_SERVER"),
        ({"answer": gzip.compress(b"ab")}, "2 bytes instead of", "E_SERVER_ANSWER"),
        ({"answer": gzip.compress(bytes(1 << 24))}, "bytes instead of", "E_SERVER_ANSWER"),
        ({"answer": b"no gzip"}, "breaks off", "E_SERVER"),
        ({"cut": True}, "breaks off|bytes instead of", "E_SERVER"),
    ],
)
def test_what_goes_wrong_is_named_and_leaves_the_object(
    volume: Volume, held: Held, address: str, change: dict[str, object], reason: str, code: str
) -> None:
    session = opened(volume, address)
    session.add(NullContext(), point(volume, 3, 4, 5))
    before = session._mask.copy()
    for name, value in change.items():
        setattr(held, name, value)
    with pytest.raises(TaskError, match=reason) as caught:
        session.add(NullContext(), point(volume, 8, 9, 10))
    assert caught.value.code.startswith(code)
    assert caught.value.hint
    assert np.array_equal(session._mask, before)


def test_no_server_and_a_silent_one_end_in_time(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANSWER_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(MedViewerError) as caught:
            opened(volume, place).add(NullContext(), point(volume, 3, 4, 5))
        assert caught.value.code == "E_TIMEOUT"
    with pytest.raises(MedViewerError) as caught:
        opened(volume, place).add(NullContext(), point(volume, 3, 4, 5))
    assert caught.value.code == "E_SERVER"
