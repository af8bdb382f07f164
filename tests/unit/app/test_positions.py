"""Images share a position only where their places are the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medviewer.app.messages import MessageLog
from medviewer.app.positions import Positions, first_look
from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.transform import AffineTransform
from medviewer.core.volume import Volume
from medviewer.core.workspace import Registration, Workspace
from medviewer.phantoms import spheres_volume
from tests.picture_volumes import film

PLACE = (11.0, -7.0, 4.0)


def series(volume_id: str, frame: str, **values: str) -> Volume:
    ref = SeriesRef(key=volume_id, series_instance_uid=volume_id, frame_of_reference_uid=frame)
    return replace(spheres_volume().volume, id=volume_id, name=volume_id.upper(), series=ref, **values)


class Desk:
    """A workspace with positions, in which one image after the other is looked at."""

    def __init__(self, *volumes: Volume) -> None:
        self.workspace, self.messages = Workspace(), MessageLog()
        self.positions = Positions(self.workspace, self.messages)
        for volume in volumes:
            self.workspace.add_volume(volume)

    def look(self, volume_id: str) -> tuple[float, float, float]:
        self.workspace.activate(volume_id)
        return self.workspace.view.crosshair_lps

    def go(self, place: tuple[float, float, float]) -> None:
        self.workspace.view.crosshair_lps = place


def test_G13_one_frame_of_reference_is_one_position() -> None:
    desk = Desk(series("a", "1.2"), series("b", "1.2"))
    desk.look("a")
    desk.go(PLACE)
    assert desk.look("b") == PLACE
    assert not desk.messages.messages


def test_G13_two_frames_of_reference_have_two_positions_and_the_user_is_told_why_once() -> None:
    desk = Desk(series("a", "1.2"), series("b", "1.3"))
    desk.look("a")
    desk.go(PLACE)
    assert desk.look("b") == first_look(desk.workspace.volume("b"))
    desk.go((1.0, 2.0, 3.0))
    assert desk.look("a") == PLACE
    assert desk.look("b") == (1.0, 2.0, 3.0)
    (told,) = desk.messages.messages
    assert told.text == "Different frames of reference, so positions are not linked: “A”, “B”."
    assert "Register" in told.hint


def test_G13_a_registration_links_both_ways() -> None:
    desk = Desk(series("a", "1.2"), series("b", "1.3"))
    shift = AffineTransform((1, 0, 0, 10, 0, 1, 0, -5, 0, 0, 1, 2, 0, 0, 0, 1))
    desk.workspace.set_registrations([Registration("r", "a", "b", shift)])
    desk.look("a")
    desk.go(PLACE)
    assert desk.look("b") == pytest.approx((21.0, -12.0, 6.0))
    desk.go((0.0, 0.0, 0.0))
    assert desk.look("a") == pytest.approx((-10.0, 5.0, -2.0))
    assert not desk.messages.messages


def test_of_two_patients_nobody_expects_one_place() -> None:
    desk = Desk(series("a", "1.2", patient_id="one"), series("b", "1.3", patient_id="other"))
    desk.look("a")
    desk.go(PLACE)
    assert desk.look("b") == first_look(desk.workspace.volume("b"))
    assert not desk.messages.messages


def test_images_without_a_frame_of_reference_are_linked_but_other_patients_and_films_are_not() -> None:
    people = {"a": "one", "b": "", "c": "other"}
    given = [series(name, "1.3" if name == "b" else "", patient_id=person) for name, person in people.items()]
    desk = Desk(*given, replace(film(), id="f"))
    desk.look("a")
    desk.go(PLACE)
    assert desk.look("b") == PLACE
    desk.look("a")
    assert desk.look("c") == first_look(desk.workspace.volume("c"))
    desk.look("a")
    assert desk.look("f") == (31.5, 23.5, 0.0), "the first frame"
    assert desk.look("a") == PLACE
    desk.workspace.remove_volume("a")
    assert desk.look("f") == (31.5, 23.5, 0.0)
