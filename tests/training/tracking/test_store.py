import threading
from pathlib import Path

import pytest

from training.tracking import store as tracking_store
from training.tracking.store import flat_params, open_client, run_link, safe_key, safe_tags, sqlite_path, tracking_uri


def test_the_store_is_a_file_in_the_project_unless_a_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite_path(tracking_uri(tmp_path)) == tmp_path / "mlflow" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri(tmp_path) == "http://127.0.0.1:5000" and sqlite_path(tracking_uri(tmp_path)) is None


def test_settings_are_flattened_and_cut_to_what_mlflow_takes() -> None:
    flat = flat_params({"a": {"b": {"c": 1}, "empty": {}}, "list": [1, {"x": 2}], "text": "y" * 7000})
    assert flat["a.b.c"] == "1" and flat["a.empty"] == "{}" and flat["list"] == '[1, {"x": 2}]'
    assert len(flat["text"]) == 6000


@pytest.mark.parametrize(
    ("name", "fit"), [("uniqueness@1000", "uniqueness_at_1000"), ("r²(x)", "r__x_"), ("valid/loss a.b-c:d", "valid/loss a.b-c:d")]
)
def test_names_are_made_fit_for_mlflow(name: str, fit: str) -> None:
    assert safe_key(name) == fit


def test_tags_are_cut_to_what_mlflow_takes() -> None:
    assert len(safe_tags({"note": "z" * 9000})["note"]) == 8000


def test_a_page_is_linked_for_a_server_and_for_a_file_only_where_one_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_link("http://127.0.0.1:5000", "1", "abc") == "http://127.0.0.1:5000/#/experiments/1/runs/abc?workflowType=machine_learning"
    assert run_link("sqlite:////x.db", "1", "abc") is None
    monkeypatch.setenv("FIGMENT_MLFLOW_URL", "http://127.0.0.1:7000")
    assert run_link("sqlite:////x.db", "1", "abc") == "http://127.0.0.1:7000/#/experiments/1/runs/abc?workflowType=machine_learning"


def test_telemetry_and_the_librarys_own_retries_are_off_once_mlflow_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")
    import os

    for name in tracking_store._settings:
        monkeypatch.delenv(name, raising=False)
    open_client("http://127.0.0.1:9")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"


def test_four_first_uses_at_once_make_one_whole_store(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made: list[str] = []
    threads = [threading.Thread(target=lambda name=name: made.append(open_client(uri).create_experiment(name))) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == ["1", "2", "3", "4"]
    assert {experiment.name for experiment in open_client(uri).search_experiments()} == {"a", "b", "c", "d"}
