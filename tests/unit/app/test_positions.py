"""Images share a position only where their places are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medviewer.app.messages import MessageLog
from medviewer.app.positions import Positions, first_look
from medviewer.core.dicom_ref import SeriesRef
from medviewer.core.tilt import STRAIGHT, Tilt, patient_axes, turned
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


def normals(volume: Volume, tilt: Tilt) -> np.ndarray:
    """Axes of the turned views in the patient, as columns."""
    axes: np.ndarray = np.array(tilt).reshape(3, 3) @ patient_axes(volume.geometry)
    return axes


def on_grid(volume: Volume, *direction: float) -> Volume:
    return replace(volume, geometry=replace(volume.geometry, direction=direction))


TILT = turned(turned(STRAIGHT, (0.0, 0.0, 1.0), 0.3), (1.0, 0.2, 0.0), 0.5)
SAGITTAL = (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def test_turned_planes_stay_in_the_patient_however_the_other_image_is_stored() -> None:
    desk = Desk(series("a", "1.2"), on_grid(series("b", "1.2"), *SAGITTAL), series("c", "1.2"))
    view = desk.workspace.view
    desk.look("a")
    view.tilt = TILT
    desk.look("b")
    assert view.tilt is not None
    wanted = normals(desk.workspace.volume("a"), TILT)
    np.testing.assert_allclose(normals(desk.workspace.volume("b"), view.tilt), wanted, atol=1e-9)
    desk.look("c")
    np.testing.assert_allclose(view.tilt, TILT, atol=1e-9)
    view.tilt = STRAIGHT
    desk.look("a")
    assert view.tilt == STRAIGHT
    view.tilt = None
    desk.look("b")
    assert view.tilt is None


def test_turned_planes_go_through_a_registration() -> None:
    desk = Desk(series("a", "1.2"), series("b", "1.3"))
    c, s = np.cos(0.2), np.sin(0.2)
    turn = AffineTransform((c, -s, 0, 9, s, c, 0, -4, 0, 0, 1, 2, 0, 0, 0, 1))
    desk.workspace.set_registrations([Registration("r", "a", "b", turn)])
    desk.look("a")
    desk.workspace.view.tilt = TILT
    desk.look("b")
    np.testing.assert_allclose(desk.workspace.view.tilt, turned(TILT, (0.0, 0.0, 1.0), 0.2), atol=1e-9)
    desk.look("a")
    np.testing.assert_allclose(desk.workspace.view.tilt, TILT, atol=1e-9)


def test_images_that_are_not_linked_keep_planes_of_their_own_and_a_film_has_none() -> None:
    desk = Desk(series("a", "1.2"), series("b", "1.3"), film())
    view = desk.workspace.view
    desk.look("a")
    view.tilt = TILT
    desk.look("b")
    assert view.tilt is None
    view.tilt = STRAIGHT
    desk.look(desk.workspace.volumes[2].id)
    assert view.tilt is None
    desk.look("a")
    assert view.tilt == TILT
    desk.look("b")
    assert view.tilt == STRAIGHT
