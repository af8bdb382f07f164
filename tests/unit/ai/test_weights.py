from __future__ import annotations

import json
from pathlib import Path

import pytest

from medviewer.ai.weights import ModelStore, version_key
from medviewer.core.errors import TaskError
from tests.model_makers import write_model


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "shipped", tmp_path / "own")


def test_a_store_without_folders_is_empty(store: ModelStore) -> None:
    assert store.models() == ()
    with pytest.raises(TaskError) as refused:
        store.find("tiny")
    assert refused.value.code == "E_NO_MODEL"


def test_the_newest_version_is_found_wherever_it_lies(store: ModelStore) -> None:
    write_model(store.shipped / "tiny", version="1.10")
    write_model(store.own / "tiny@1.9", version="1.9")
    assert [(m.version, m.shipped) for m in store.models()] == [("1.10", True), ("1.9", False)]
    assert store.find("tiny").version == "1.10"
    assert store.find("tiny", "1.9").folder == store.own / "tiny@1.9"
    assert [m.version for m in store.newest()] == ["1.10"]


def test_of_two_equal_versions_the_users_own_wins(store: ModelStore) -> None:
    write_model(store.shipped / "tiny")
    write_model(store.own / "tiny")
    assert not store.find("tiny").shipped


def test_versions_are_ordered_by_their_numbers() -> None:
    texts = ["2.0", "1.10", "1.9", "1.9-beta", "1.2.3", "1"]
    assert sorted(texts, key=version_key, reverse=True) == ["2.0", "1.10", "1.9-beta", "1.9", "1.2.3", "1"]


def test_M09_a_broken_model_is_listed_with_its_reason_and_the_others_work(store: ModelStore) -> None:
    write_model(store.own / "good", "good")
    for name, text in {"no_json": "{", "foreign": "{}", "deep": "[" * 100_000}.items():
        (store.own / name).mkdir()
        (store.own / name / "model.json").write_text(text, encoding="utf-8")
    (store.own / "empty").mkdir()
    (store.own / "no_weights").mkdir()
    card = (store.own / "good" / "model.json").read_text(encoding="utf-8")
    (store.own / "no_weights" / "model.json").write_text(card, encoding="utf-8")
    found = {model.id: model.problem for model in store.models()}
    assert found.pop("good") == ""
    assert set(found) == {"no_json", "foreign", "deep", "empty", "no_weights"}
    assert all(found.values())
    assert [model.id for model in store.newest()] == ["good"]
    with pytest.raises(TaskError) as refused:
        store.find("foreign")
    assert refused.value.code == "E_MODEL_FILE"


@pytest.mark.parametrize("stored", ["{", "[]", '{"id": 3}', '{"files": []}'])
def test_M09_a_damaged_note_of_the_store_makes_a_broken_model(store: ModelStore, stored: str) -> None:
    write_model(store.own / "tiny")
    (store.own / "tiny" / "stored.json").write_text(stored, encoding="utf-8")
    assert store.models()[0].problem


def test_the_note_of_the_store_names_a_model_that_has_no_name_of_its_own(store: ModelStore) -> None:
    write_model(store.own / "tiny")
    note = {"id": "mine", "version": "7", "source": "https://example.org/tiny.zip", "files": {"model.json": "ab"}}
    (store.own / "tiny" / "stored.json").write_text(json.dumps(note), encoding="utf-8")
    model = store.find("mine")
    assert (model.version, model.source, dict(model.files)) == ("7", note["source"], {"model.json": "ab"})
