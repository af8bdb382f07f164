"""Download a model: resumed where it was cut, used only when its SHA-256 is the one that was asked for."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from medviewer.ai.model_import import import_models
from medviewer.ai.weights import ModelStore, StoredModel
from medviewer.core.errors import InputError, TaskError
from medviewer.io.archive_rules import MOST_FILES
from medviewer.jobs.job import JobContext, SubContext

_HUGGING_FACE: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)/(?P<file>[\w./ -]+)")
#: A commit says which files, so that all of them can be asked for.
_REPOSITORY: Final = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})/?(?P<folder>(?<=/)[\w./ -]+/)?")
HUB = "https://huggingface.co"
#: Bytes of a list of files, and of a file that has no SHA-256, at most.
_MOST_LIST, _MOST_SMALL = 16 << 20, 64 << 20
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
        ``https://…``, or of Hugging Face ``organisation/name@revision/file``; all files of a repository, or of a folder
        in it, by ``organisation/name@commit`` or ``organisation/name@commit/folder/``.
    sha256 : str
        Of the file: nothing else is used. Not asked for where a commit is named: it says which files, and the hash of
        each.

    Raises
    ------
    InputError
        ``E_ADDRESS`` or ``E_HASH_MISSING``.
    TaskError
        ``E_DOWNLOAD``: it cannot be fetched now. ``E_HASH``: it is not the file asked for; nothing was changed.
    """
    if repository := _REPOSITORY.fullmatch(address):
        return _download_repository(ctx, store, address, repository)
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
    fetch(SubContext(ctx, 0.0, 0.8), url, file, lambda path: sha256_of(path) == sha256.lower())
    models = import_models(SubContext(ctx, 0.8, 1.0), store, file, source=address)
    shutil.rmtree(waiting, ignore_errors=True)
    return models


def names_repository(address: str) -> bool:
    """Whether an address is that of a whole repository, or of a folder in one, at a commit."""
    return _REPOSITORY.fullmatch(address) is not None


def _download_repository(
    ctx: JobContext, store: ModelStore, address: str, named: re.Match[str]
) -> tuple[StoredModel, ...]:
    """Download the files of a repository at a commit; each must have the hash that the commit gives it."""
    repo, commit, folder = named["repo"], named["commit"], (named["folder"] or "").rstrip("/")
    if ".." in folder.split("/"):
        raise _bad_address(address)
    ctx.progress(0.0, "Reading the list of files")
    files = listed(repo, commit, folder)
    waiting = store.own / ".downloads" / hashlib.sha256(address.encode()).hexdigest()
    total, done = sum(file.size for file in files) or 1, 0
    for file in files:
        target = waiting / folder / file.path if folder else waiting / repo.rpartition("/")[2] / file.path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = SubContext(ctx, 0.8 * done / total, 0.8 * (done + file.size) / total)
        place = f"{folder}/{file.path}" if folder else file.path
        fetch(part, _checked(f"{HUB}/{repo}/resolve/{commit}/{quote(place)}"), target, file.is_right)
        done += file.size
    models = import_models(SubContext(ctx, 0.8, 1.0), store, waiting, source=address)
    shutil.rmtree(waiting, ignore_errors=True)
    return models


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository: its path in the folder asked for, its size, and its hash.

    Large files have a SHA-256; small ones the name that git gives their content.
    """

    path: str
    size: int
    sha256: str
    git: str

    def is_right(self, file: Path) -> bool:
        """Whether a file has the hash."""
        if self.sha256:
            return sha256_of(file) == self.sha256
        if file.stat().st_size > _MOST_SMALL:
            return False
        data = file.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == self.git


def listed(repo: str, commit: str, folder: str = "") -> tuple[HubFile, ...]:
    """Return the files of a repository of Hugging Face at a commit, or of a folder in it.

    Raises
    ------
    TaskError
        ``E_DOWNLOAD``: the list cannot be fetched, or is not as the hub writes it.
    """
    import requests

    url = f"{HUB}/api/models/{repo}/tree/{commit}{f'/{quote(folder)}' if folder else ''}?recursive=true"
    entries: list[Any] = []
    try:
        with requests.Session() as session:
            while url and len(entries) <= MOST_FILES:
                with _open(session, _checked(url), {}) as answer:
                    if answer.status_code != 200:
                        raise _cannot(url, f"the server answers with HTTP status {answer.status_code}")
                    found = json.loads(answer.raw.read(_MOST_LIST, decode_content=True))
                    entries += found if isinstance(found, list) else [None]
                    url = answer.links.get("next", {}).get("url", "")
    except (requests.RequestException, ValueError) as error:
        raise _cannot(HUB, f"the list of its files cannot be read ({type(error).__name__})") from error
    try:
        files = tuple(_hub_file(entry, folder) for entry in entries if entry["type"] == "file")
    except (KeyError, TypeError, ValueError) as error:
        raise _cannot(HUB, "the list of its files is not as it should be") from error
    files = tuple(file for file in files if not file.path.rpartition("/")[2].startswith("."))
    if not files or len(files) > MOST_FILES:
        raise _cannot(HUB, f"{repo} has {len(files) or 'no'} files there")
    return files


def _hub_file(entry: Any, folder: str) -> HubFile:
    path, large = str(entry["path"]), entry.get("lfs")
    parts = path.split("/")
    if not set(parts).isdisjoint(("", ".", "..")) or "\\" in path or ":" in path:
        raise ValueError(path)
    if folder and not path.startswith(f"{folder}/"):
        raise ValueError(path)
    sha256, git = (str(large["oid"]), "") if large else ("", str(entry["oid"]))
    if not re.fullmatch(r"[0-9a-f]{64}" if large else r"[0-9a-f]{40}", sha256 or git):
        raise ValueError(path)
    return HubFile(path.removeprefix(f"{folder}/") if folder else path, int(entry["size"]), sha256, git)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve(address: str) -> str:
    """Return the URL of an address; raises `InputError` ``E_ADDRESS``."""
    if named := _HUGGING_FACE.fullmatch(address):
        if ".." in named["file"].split("/"):
            raise _bad_address(address)
        return f"{HUB}/{named['repo']}/resolve/{named['revision']}/{named['file']}"
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
        hint="Use https://…, organisation/name@revision/file, or organisation/name@commit for a whole repository.",
        code="E_ADDRESS",
    )


def _file_name(url: str) -> str:
    return re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path).rsplit("/", 1)[-1])[-80:].lstrip(".") or "model"


def fetch(ctx: JobContext, url: str, file: Path, right: Callable[[Path], bool]) -> None:
    """Fetch until a file is whole, going on where a connection was cut; one that is not `right` is thrown away.

    Raises
    ------
    TaskError
        ``E_DOWNLOAD`` or ``E_HASH``.
    """
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
        if not right(part):
            part.unlink()
            raise TaskError(
                f"What {urlsplit(url).hostname} sent is not the file asked for: its hash differs.",
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
