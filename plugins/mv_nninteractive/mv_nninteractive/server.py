"""The client's side of the nnInteractive server that SlicerNNInteractive comes with: HTTP, images as ``.npy``.

``POST /upload_image`` takes the image, ``/upload_segment`` the object (gzip), ``/add_point_interaction`` and
``/add_bbox_interaction`` JSON, ``/add_scribble_interaction`` and ``/add_lasso_interaction`` a mask (gzip). Places and
arrays are (k, j, i). An answer is the whole object, one bit a voxel, packed by gzip; a refusal is JSON. The server
holds one image and one object, of whoever asked last.

References
----------
de Vente et al., nnInteractive in 3D Slicer, 2025: the documentation and source of its server.
"""

from __future__ import annotations

import gzip
import io
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from medviewer.api import InputError, TaskError

Mask = npt.NDArray[np.bool_]

#: Seconds to connect, and between two pieces of an answer: the server may have to compute for long.
CONNECT_S, ANSWER_S = 10.0, 180.0


class NoImage(Exception):
    """The server has no image (any more): it was started anew."""


class Server:
    """Asks a server.

    Parameters
    ----------
    address : str
        ``http://host:port`` or ``https://…``.

    Raises
    ------
    InputError
        ``E_ADDRESS``
    """

    def __init__(self, address: str) -> None:
        import requests

        parts = urlsplit(address.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise InputError(
                f"{address} is no address of a server.", hint="It looks like http://name:1527.", code="E_ADDRESS"
            )
        self._address = address.strip().rstrip("/")
        self._name = parts.netloc
        self._session = requests.Session()
        # Neither a proxy nor a password file of the system has a part in this.
        self._session.trust_env = False

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def send_image(self, array: npt.NDArray[Any]) -> None:
        """Give it an image (k, j, i); it forgets what it had."""
        self._post("upload_image", files={"file": ("volume.npy", _npy(array), "application/octet-stream")}).close()

    def send_object(self, mask: Mask) -> None:
        """Give it the object so far: prompts before count no more, an empty one begins anew."""
        self._post("upload_segment", files=_packed(mask)).close()

    def point(self, place: tuple[int, ...], positive: bool, shape: tuple[int, ...]) -> Mask:
        """Return the object after a point."""
        told = {"voxel_coord": list(place), "positive_click": positive}
        return self._object(self._post("add_point_interaction", json=told), shape)

    def box(self, lower: tuple[int, ...], upper: tuple[int, ...], positive: bool, shape: tuple[int, ...]) -> Mask:
        """Return the object after a half-open box."""
        told = {"outer_point_one": list(lower), "outer_point_two": list(upper), "positive_click": positive}
        return self._object(self._post("add_bbox_interaction", json=told), shape)

    def drawn(self, kind: str, mask: Mask, positive: bool) -> Mask:
        """Return the object after a ``scribble`` or ``lasso``."""
        told = {"positive_click": str(positive)}
        return self._object(self._post(f"add_{kind}_interaction", files=_packed(mask), data=told), mask.shape)

    def _post(self, path: str, **what: Any) -> Any:
        """Return an answer that is no refusal, its body not yet read."""
        import requests

        try:
            answer = self._session.post(
                f"{self._address}/{path}", timeout=(CONNECT_S, ANSWER_S), stream=True, allow_redirects=False, **what
            )
            if answer.status_code != 200:
                raise self._failed(f"it answers with HTTP status {answer.status_code}")
            if "json" in answer.headers.get("Content-Type", ""):
                self._check(answer.json())
        except requests.ConnectTimeout as error:
            raise self._failed(f"it does not answer within {CONNECT_S:.0f} seconds", "E_TIMEOUT") from error
        except requests.Timeout as error:
            raise self._failed(f"no answer came for {ANSWER_S:.0f} seconds", "E_TIMEOUT") from error
        except requests.RequestException as error:
            raise self._failed(f"the connection fails ({type(error).__name__})") from error
        return answer

    def _check(self, told: Any) -> None:
        if isinstance(told, dict) and told.get("status") == "ok":
            return
        reason = str(told.get("message", "") if isinstance(told, dict) else "")[:200]
        if "No image" in reason:
            raise NoImage
        raise self._failed(f"it refuses: {reason or 'it does not say why'}")

    def _object(self, answer: Any, shape: tuple[int, ...]) -> Mask:
        """Return the object of an answer; nothing longer than it is read."""
        import urllib3

        count = int(np.prod(shape))
        wanted = -(-count // 8)
        with answer:
            try:
                data = answer.raw.read(wanted + 1, decode_content=True)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._failed(f"its answer breaks off ({type(error).__name__})") from error
        if len(data) != wanted:
            raise self._failed(f"its answer has {len(data)} bytes instead of {wanted}", "E_SERVER_ANSWER")
        return np.unpackbits(np.frombuffer(data, np.uint8), count=count).astype(bool).reshape(shape)

    def _failed(self, reason: str, code: str = "E_SERVER") -> TaskError:
        return TaskError(
            f"The nnInteractive server {self._name} cannot be used: {reason}.",
            hint="Check that it runs and that its address is right; models on this computer work without it.",
            code=code,
        )


def _npy(array: npt.NDArray[Any]) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def _packed(mask: Mask) -> dict[str, tuple[str, bytes, str]]:
    data = gzip.compress(_npy(mask.astype(np.uint8)), compresslevel=1)
    return {"file": ("volume.npy.gz", data, "application/octet-stream")}
