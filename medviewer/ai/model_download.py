"""Download a model: resumed where it was cut, used only when its SHA-256 is the one that was asked for."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from medviewer.ai.model_import import import_models
from medviewer.ai.weights import ModelStore, StoredModel
from medviewer.core.errors import InputError, TaskError
from medviewer.jobs.job import JobContext, SubContext

_HUGGING_FACE: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)/(?P<file>[\w./ -]+)")
_LOCAL: Final = ("127.0.0.1", "localhost", "::1")
_CHUNK: Final = 32 << 10
_ATTEMPTS: Final = 6
_REDIRECTS: Final = 5
_TIMEOUT_S: Final = (10.0, 30.0)


def download_model(ctx: JobContext, store: ModelStore, address: str, sha256: str) -> tuple[StoredModel, ...]:
    """Download a model and put it into the user's store.

    Parameters
    ----------
    ctx : JobContext
        Cancel keeps what came, for the next time.
    store : ModelStore
    address : str
        ``https://…``, or of Hugging Face ``organisation/name@revision/file``.
    sha256 : str
        Of the file: nothing else is used.

    Raises
    ------
    InputError
        ``E_ADDRESS`` or ``E_HASH_MISSING``.
    TaskError
        ``E_DOWNLOAD``: it cannot be fetched now. ``E_HASH``: it is not the file asked for; nothing was changed.
    """
    url = resolve(address)
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InputError(
            "A download needs the SHA-256 of the file.",
            hint="Whoever publishes the model says it; without it nobody can tell what came.",
            code="E_HASH_MISSING",
        )
    waiting = store.own / ".downloads" / sha256.lower()
    waiting.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = waiting / _file_name(url)
    _fetch(SubContext(ctx, 0.0, 0.8), url, file, sha256.lower())
    models = import_models(SubContext(ctx, 0.8, 1.0), store, file, source=address)
    shutil.rmtree(waiting, ignore_errors=True)
    return models


def resolve(address: str) -> str:
    """Return the URL of an address; raises `InputError` ``E_ADDRESS``."""
    if named := _HUGGING_FACE.fullmatch(address):
        if ".." in named["file"].split("/"):
            raise _bad_address(address)
        return f"https://huggingface.co/{named['repo']}/resolve/{named['revision']}/{named['file']}"
    return _checked(address)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOCAL
    if not parts.hostname or parts.username or not (parts.scheme == "https" or local):
        raise _bad_address(url)
    return url


def _bad_address(address: str) -> InputError:
    return InputError(
        f"{address} is no address to download from.",
        hint="Use https://…, or organisation/name@revision/file for Hugging Face.",
        code="E_ADDRESS",
    )


def _file_name(url: str) -> str:
    return re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path).rsplit("/", 1)[-1])[-80:].lstrip(".") or "model"


def _fetch(ctx: JobContext, url: str, file: Path, sha256: str) -> None:
    """Fetch until the file is whole, going on where a connection was cut."""
    import requests

    part = file.with_name(f"{file.name}.part")
    if not file.exists():
        for attempt in range(_ATTEMPTS):
            before = part.stat().st_size if part.exists() else 0
            try:
                if _attempt(ctx, url, part):
                    break
            except requests.RequestException as error:
                if attempt == _ATTEMPTS - 1 or _no_use(error):
                    raise _cannot(url, str(type(error).__name__)) from error
            if attempt == _ATTEMPTS - 1 and part.stat().st_size <= before:
                raise _cannot(url, "the connection is cut again and again")
        else:
            raise _cannot(url, "the connection is cut again and again")
        with part.open("rb") as read:
            found = hashlib.file_digest(read, "sha256").hexdigest()
        if found != sha256:
            part.unlink()
            raise TaskError(
                f"What {urlsplit(url).hostname} sent is not the file asked for: its SHA-256 differs.",
                hint="Nothing was changed. Check the hash, and try another network.",
                code="E_HASH",
            )
        part.replace(file)


def _no_use(error: Any) -> bool:
    import requests

    return isinstance(error, requests.exceptions.SSLError | requests.exceptions.InvalidURL)


def _cannot(url: str, reason: str) -> TaskError:
    return TaskError(
        f"The model cannot be downloaded from {urlsplit(url).hostname}: {reason}.",
        hint="Try again; what came so far is kept. Models that are here already work without a network.",
        code="E_DOWNLOAD",
    )


def _attempt(ctx: JobContext, url: str, part: Path) -> bool:
    """Add to a part what the server sends; return whether it is complete."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.Session() as session, _open(session, url, headers) as answer:
        if answer.status_code == 416:
            part.unlink(missing_ok=True)
            return False
        if answer.status_code not in (200, 206):
            raise _cannot(url, f"the server answers with HTTP status {answer.status_code}")
        start = re.match(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        on = answer.status_code == 206 and start is not None and int(start[1]) == have
        have = have if on else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        if total is not None and total - have > shutil.disk_usage(part.parent).free:
            raise TaskError("There is no room for the download.", hint="Free some space.", code="E_NO_SPACE")
        with part.open("ab" if on else "wb") as file:
            for chunk in answer.iter_content(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                ctx.progress(have / total if total else None, f"{have / 1e6:.0f} MB")
    return total is None or have >= total


def _open(session: Any, url: str, headers: dict[str, str]) -> Any:
    """Ask for a file; follow redirects to places that are allowed."""
    for _ in range(_REDIRECTS):
        answer = session.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S, allow_redirects=False)
        if answer.status_code not in (301, 302, 303, 307, 308):
            return answer
        answer.close()
        url = _checked(urljoin(url, answer.headers.get("Location", "")))
    raise _cannot(url, "it redirects again and again")
