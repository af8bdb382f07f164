from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medviewer.ai.model_download import download_model, resolve
from medviewer.ai.model_import import import_models, remove_model, verify_files
from medviewer.ai.weights import ModelStore
from medviewer.app.bootstrap import discover_plugins
from medviewer.app.headless import analyze_volume
from medviewer.app.models import must_accept
from medviewer.app.paths import settings_file
from medviewer.app.settings import Settings
from medviewer.cli.commands import run_command
from medviewer.core.errors import InputError, MedViewerError, TaskError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobCancelled, NullContext
from medviewer.jobs.worker import WorkerProcess
from tests.model_makers import nnunet_plans, write_bundle, write_model, write_nnunet
from tests.model_server import Behaviour, serving

CTX = NullContext()


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "shipped", tmp_path / "own")


def zipped(folder: Path) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return target.getvalue()


def left_over(store: ModelStore) -> list[str]:
    return [path.name for path in store.own.iterdir() if path.name.startswith(".") and path.name != ".downloads"]


def test_a_folder_is_copied_with_the_hash_of_every_file(store: ModelStore, tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny", version="2.0")
    (model,) = import_models(CTX, store, source)
    assert model.folder == store.own / "tiny@2.0"
    assert model.source == "tiny"
    assert set(model.files) == {"model.json", "weights.safetensors"}
    for name, digest in model.files.items():
        assert hashlib.sha256((source / name).read_bytes()).hexdigest() == digest
    assert store.find("tiny").version == "2.0"
    verify_files(model)
    (model.folder / "model.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TaskError) as refused:
        verify_files(model)
    assert refused.value.code == "E_MODEL_FILE"
    assert left_over(store) == []


def test_an_archive_that_holds_a_folder_is_imported(store: ModelStore, tmp_path: Path) -> None:
    archive = tmp_path / "tiny.zip"
    archive.write_bytes(zipped(write_model(tmp_path / "deep" / "tiny").parent))
    (model,) = import_models(CTX, store, archive)
    assert (model.id, model.source) == ("tiny", "tiny.zip")


def test_an_nnunet_dataset_brings_every_configuration_and_no_images(store: ModelStore, tmp_path: Path) -> None:
    for dims in (2, 3):
        root = write_nnunet(tmp_path / "results", nnunet_plans(dims), mirror=None)
        (root / "fold_0" / "validation").mkdir()
        (root / "fold_0" / "validation" / "patient.nii.gz").write_bytes(b"private")
    models = import_models(CTX, store, tmp_path / "results")
    assert {model.id for model in models} == {"nnunet_made_2d", "nnunet_made_3d_fullres"}
    assert not list(store.own.rglob("*.nii.gz"))
    assert all(m.card is not None and m.format == "nnunet" for m in store.models())


def test_a_bundle_keeps_its_name_whatever_its_folder_is_called(store: ModelStore, tmp_path: Path) -> None:
    (model,) = import_models(CTX, store, write_bundle(tmp_path / "some folder"))
    assert (model.id, model.folder.name) == ("monai_made_thing", "monai_made_thing@0.3.1")


def test_the_same_version_is_replaced_and_another_stands_beside(store: ModelStore, tmp_path: Path) -> None:
    import_models(CTX, store, write_model(tmp_path / "a", title="Old"))
    import_models(CTX, store, write_model(tmp_path / "b", title="New"))
    import_models(CTX, store, write_model(tmp_path / "c", version="0.9"))
    assert [(m.version, m.card and m.card.title) for m in store.models()] == [("1.0", "New"), ("0.9", "Tiny")]
    assert left_over(store) == []


def test_removing_takes_the_users_and_never_the_shipped(store: ModelStore, tmp_path: Path) -> None:
    write_model(store.shipped / "tiny")
    import_models(CTX, store, write_model(tmp_path / "tiny", version="2"))
    remove_model(store.find("tiny"))
    assert store.find("tiny").shipped
    with pytest.raises(InputError) as refused:
        remove_model(store.find("tiny"))
    assert refused.value.code == "E_SHIPPED"


@pytest.mark.parametrize("kind", ["not there", "no model", "broken", "text"])
def test_what_is_no_model_leaves_the_store_as_it_was(store: ModelStore, tmp_path: Path, kind: str) -> None:
    import_models(CTX, store, write_model(tmp_path / "tiny"))
    path = tmp_path / "new"
    if kind == "no model":
        path.mkdir()
    elif kind == "broken":
        write_model(path)
        (path / "weights.safetensors").unlink()
    elif kind == "text":
        path.write_text("hello", encoding="utf-8")
    with pytest.raises(MedViewerError) as refused:
        import_models(CTX, store, path)
    assert refused.value.code in ("E_FILE", "E_MODEL_FORMAT", "E_MODEL_FILE")
    assert [model.id for model in store.models()] == ["tiny"]
    assert left_over(store) == []


def test_S06_links_are_not_followed(store: ModelStore, tmp_path: Path) -> None:
    source = write_model(tmp_path / "tiny")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    (source / "note.txt").symlink_to(tmp_path / "secret.txt")
    (source / "loop").symlink_to(source)
    (model,) = import_models(CTX, store, source)
    assert sorted(os.listdir(model.folder)) == ["model.json", "stored.json", "weights.safetensors"]


class Cancelling(NullContext):
    def progress(self, fraction: float | None, text: str = "") -> None:
        if "weights" in text or "MB" in text:
            raise JobCancelled


def test_a_cancelled_import_leaves_nothing(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(JobCancelled):
        import_models(Cancelling(), store, write_model(tmp_path / "tiny"))
    assert store.models() == ()
    assert left_over(store) == []


# ---- downloads


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    folder = write_model(tmp_path / "made" / "tiny", version="2.0")
    (folder / "filling.txt").write_bytes(bytes(range(256)) * 4000)
    return zipped(folder)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_S20_a_download_is_imported_when_its_hash_is_right(store: ModelStore, data: bytes) -> None:
    with serving(Behaviour(data)) as address:
        (model,) = download_model(CTX, store, address, sha(data))
    assert (model.id, model.version, model.source) == ("tiny", "2.0", address)
    assert not any((store.own / ".downloads").iterdir())


@pytest.mark.parametrize("ranges", [True, False])
def test_S20_a_cut_download_goes_on_where_it_ended(store: ModelStore, data: bytes, ranges: bool) -> None:
    server = Behaviour(data, cut_after=10 * 32768, cuts=3, ranges=ranges)
    with serving(server) as address:
        download_model(CTX, store, address, sha(data))
    assert store.find("tiny").version == "2.0"
    assert len(server.asked) == 4
    if ranges:
        assert server.asked == ["", "bytes=327680-", "bytes=655360-", "bytes=983040-"]


def test_S20_what_came_is_kept_over_a_cancel(store: ModelStore, data: bytes) -> None:
    server = Behaviour(data)
    with serving(server) as address:
        with pytest.raises(JobCancelled):
            download_model(Cancelling(), store, address, sha(data))
        download_model(CTX, store, address, sha(data))
    assert server.asked[0] == ""
    assert server.asked[1].startswith("bytes=")


def test_S20_a_flipped_byte_is_refused_and_the_old_model_stays(store: ModelStore, data: bytes, tmp_path: Path) -> None:
    import_models(CTX, store, write_model(tmp_path / "old"))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    with serving(Behaviour(bytes(flipped))) as address, pytest.raises(TaskError) as refused:
        download_model(CTX, store, address, sha(data))
    assert refused.value.code == "E_HASH"
    assert store.find("tiny").version == "1.0"
    with serving(Behaviour(data)) as address:
        download_model(CTX, store, address, sha(data))
    assert store.find("tiny").version == "2.0"


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_S20_a_server_that_says_no_is_named(store: ModelStore, data: bytes, status: int) -> None:
    with serving(Behaviour(data, status=status)) as address, pytest.raises(TaskError, match=str(status)) as refused:
        download_model(CTX, store, address, sha(data))
    assert refused.value.code == "E_DOWNLOAD"


def test_S20_a_server_that_cuts_for_ever_is_given_up(store: ModelStore, data: bytes) -> None:
    with serving(Behaviour(data, cut_after=0, cuts=100)) as address, pytest.raises(TaskError) as refused:
        download_model(CTX, store, address, sha(data))
    assert refused.value.code == "E_DOWNLOAD"


def test_S16_S20_a_redirect_to_an_open_line_is_refused(store: ModelStore, data: bytes) -> None:
    with serving(Behaviour(data, redirect="http://example.org/x.zip")) as address, pytest.raises(InputError) as refused:
        download_model(CTX, store, address, sha(data))
    assert refused.value.code == "E_ADDRESS"
    with serving(Behaviour(data, redirect="/there")) as address:
        download_model(CTX, store, address, sha(data))


def test_S20_nothing_is_fetched_without_a_hash_or_over_an_open_line(store: ModelStore) -> None:
    for address, digest, code in [
        ("https://example.org/x.zip", "", "E_HASH_MISSING"),
        ("http://example.org/x.zip", "0" * 64, "E_ADDRESS"),
        ("file:///etc/passwd", "0" * 64, "E_ADDRESS"),
        ("https://user:word@example.org/x", "0" * 64, "E_ADDRESS"),
        ("org/name@main/../../x", "0" * 64, "E_ADDRESS"),
    ]:
        with pytest.raises(InputError) as refused:
            download_model(CTX, store, address, digest)
        assert refused.value.code == code


def test_a_hugging_face_name_becomes_an_address() -> None:
    expected = "https://huggingface.co/org/na-me/resolve/v1.0/models/tiny.zip"
    assert resolve("org/na-me@v1.0/models/tiny.zip") == expected


# ---- from the command line


def test_the_commands_list_import_accept_and_remove(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_model(tmp_path / "tiny", license="CC BY-NC-SA 4.0")
    assert run_command(["models", "import", str(source), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert (facts["id"], facts["license"], facts["shipped"]) == ("tiny", "CC BY-NC-SA 4.0", False)
    assert run_command(["models", "list"]) == 0
    assert "CC BY-NC-SA 4.0" in capsys.readouterr().out
    settings = Settings.load(settings_file())
    task = discover_plugins().task("tiny")
    assert must_accept(task, settings.accepted_licenses, ModelStore())
    assert run_command(["models", "accept", "tiny"]) == 0
    assert not must_accept(task, Settings.load(settings_file()).accepted_licenses, ModelStore())
    assert run_command(["models", "show", "tiny"]) == 0
    assert run_command(["models", "remove", "tiny"]) == 0
    assert run_command(["models", "show", "tiny"]) != 0
    assert "E_NO_MODEL" in capsys.readouterr().err


def test_an_imported_model_does_not_run_before_its_licence_is_accepted(tmp_path: Path) -> None:
    import_models(CTX, ModelStore(), write_model(tmp_path / "tiny"))
    registry = discover_plugins()
    volume = Volume(np.zeros((4, 4, 4), np.int16), Geometry((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), "case")
    with pytest.raises(InputError, match="models accept tiny") as refused:
        analyze_volume(CTX, volume, registry, WorkerProcess("model"), ["tiny"], accepted=())
    assert refused.value.code == "E_LICENSE"
