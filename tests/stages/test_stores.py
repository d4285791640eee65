import pytest

from stages.params import ParamsError
from stages.stores import chosen_profile, with_driver
from tests.orchestration.cli.figment import figment

LAB = {"dagster": "postgresql://figment@db/dagster", "mlflow": "postgresql:///mlflow", "artifacts": "s3://figment/mlflow/"}


def write(root, use="lab", **values):
    lines = "".join(f"    {key}: {value}\n" for key, value in {**LAB, **values}.items())
    (root / "stores.yaml").write_text(f"use: {use}\nprofiles:\n  lab:\n{lines}")


def test_without_the_file_records_are_kept_here(tmp_path):
    assert chosen_profile(tmp_path) is None


def test_the_file_chooses_and_the_variable_goes_before_it(tmp_path, monkeypatch):
    write(tmp_path)
    profile = chosen_profile(tmp_path)
    assert (profile.bucket, profile.prefix, profile.is_served_here) == ("figment", "mlflow/", True)
    assert with_driver(profile.mlflow) == "postgresql+psycopg2:///mlflow"
    monkeypatch.setenv("FIGMENT_PROFILE", "local")
    assert chosen_profile(tmp_path) is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlflow": "postgresql://figment:secret@db/mlflow"}, "mlflow holds a password"),
        ({"mlflow": "sqlite:///x.db"}, "mlflow must be like postgresql://"),
        ({"mlflow": LAB["dagster"]}, "need a database each"),
        ({"artifacts": "/mnt/lab"}, "artifacts must be like s3://"),
        ({"s3_endpoint": "lab.example"}, "s3_endpoint must be like https://"),
        ({"artefacts": "s3://x"}, "did you mean 'artifacts'"),
        ({"use": "lap"}, "did you mean 'lab'"),
    ],
)
def test_a_profile_that_cannot_be_is_refused_in_words(tmp_path, values, words):
    write(tmp_path, **values)
    with pytest.raises(ParamsError, match=words) as refused:
        chosen_profile(tmp_path)
    assert "secret" not in str(refused.value)


def test_a_profile_named_by_the_variable_needs_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("FIGMENT_PROFILE", "lab")
    with pytest.raises(ParamsError, match="docs/lab.md"):
        chosen_profile(tmp_path)


def test_trackers_send_to_the_server_of_the_profile(tmp_path, monkeypatch):
    from training.tracking.store import tracking_uri

    write(tmp_path, mlflow_server="https://mlflow.lab.example")
    assert tracking_uri(tmp_path / ".figment") == "https://mlflow.lab.example"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert tracking_uri(tmp_path / ".figment") == "http://127.0.0.1:9"


@pytest.mark.parametrize("words", [("up",), ("move-stores", "--dry-run")])
def test_a_lab_without_its_libraries_is_told_in_one_line(tmp_path, monkeypatch, words):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "psycopg2" else find(name, *more))
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    write(tmp_path)
    answer = figment(tmp_path, *words)
    assert answer.code == 2 and "psycopg2" in answer.err and "not installed" in answer.err and answer.err.count("\n") == 1, answer
