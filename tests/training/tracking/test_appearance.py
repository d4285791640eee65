import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.tracking.appearance import Field, Signature, amount, experiment_tags, judged_card, run_name, view_tags
from training.tracking.registry import find_version, logged_model_id
from training.tracking.tracker import InputArtifact, PromotionRule, attach_metrics, open_tracker

NOTE, KIND = "mlflow.note.content", "mlflow.experimentKind"
VIEW = "mlflow.sharedViewState.headline"


def columns_of(tags: dict[str, str]) -> list[str]:
    return json.loads(json.loads(tags[VIEW])["state"])["selectedColumns"]


def test_a_run_is_named_by_data_size_amount_and_outcome() -> None:
    assert run_name("toc_dataset@128", "32 px", amount(1504, "images"), "swd_x1000 183") == "toc_dataset@128 · 32 px · 1.504 kimg · swd_x1000 183"
    assert run_name("molecules", "", amount(12_000, "molecules"), "") == "molecules · 12k molecules"


def test_an_experiment_is_one_of_trainings_and_keeps_what_a_person_wrote() -> None:
    first = experiment_tags({}, "ours")

    assert first[KIND] == "custom_model_development" and first[NOTE] == "ours"
    assert experiment_tags(first, "ours") == {}
    assert experiment_tags(first, "ours, better")[NOTE] == "ours, better"
    assert experiment_tags({**first, NOTE: "mine"}, "ours, better") == {}
    assert experiment_tags({KIND: "genai_development"}, "") == {}


def test_the_view_gathers_columns_and_one_that_a_person_saved_is_left_alone() -> None:
    first = view_tags({}, ["params.kimg", "metrics.swd_x1000"], 5)

    assert columns_of(first) == ["attributes.`Models`", "params.`kimg`", "metrics.`swd_x1000`"]
    assert view_tags(first, ["metrics.swd_x1000"], 9) == {}
    later = view_tags(first, ["metrics.fd"], 9)
    assert columns_of(later) == [*columns_of(first), "metrics.`fd`"]
    view = json.loads(later[VIEW])
    assert view["createdAt"] == view["updatedAt"] == 5
    assert view_tags({VIEW: json.dumps({**view, "updatedAt": 9})}, ["metrics.kid"], 10) == {}
    assert view_tags({VIEW: json.dumps({**view, "state": "deflate;abc"})}, ["metrics.kid"], 10) == {}


def test_a_card_holds_one_judgement_of_each_report() -> None:
    card = judged_card("# model", "toc_report", {"fd": 3.0})
    both = judged_card(card, "other_report", {"x": 1.0})
    again = judged_card(both, "toc_report", {"fd": 2.5})

    assert card == "# model\n\n## As judged by toc_report\n\n| number | value |\n|---|---|\n| fd | 3 |"
    assert again.startswith("# model\n\n## As judged by other_report") and again.endswith("| fd | 2.5 |") and "| fd | 3 |" not in again


@pytest.fixture
def client(state_dir: Path, reporter: Any, client_of: Callable[[Path], Any]) -> Any:
    """A store that holds a training with its model, and a report on it."""
    pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")
    opening = {
        "config": {"kimg": 1.5},
        "inputs": [InputArtifact("toc_dataset@128", Path("data/toc_dataset@128"), "1" * 32 + ".dir")],
        "resume_step": None,
    }
    with open_tracker(
        "gan", run_key="k" * 16, title="toc_dataset@128 · 32 px", description="Draws pictures.", state_dir=state_dir, reporter=reporter, **opening
    ) as tracker:
        tracker.metrics(1, {"loss": 0.5})
        signature = Signature((Field("z", "float32", (-1, 64)),), (Field("pictures", "float32", (-1, 3, 32, 32)),))
        tracker.register_model("gan", Path("data/gan"), output_id="2" * 32 + ".dir", card="# gan", signature=signature)
        tracker.name("toc_dataset@128 · 32 px · 1.5 kimg", "loss 0.5", ["params.kimg", "metrics.loss"])
    attach_metrics(
        "gan",
        output_id="2" * 32 + ".dir",
        metrics={"fd": 3.0, "psi0.8_swd": 180.2, "more": 1.0},
        artifacts=[],
        promote=PromotionRule("psi0.8_swd", better="lower"),
        reporter=reporter,
        report="gan_report",
        headline=["fd", "psi0.8_swd", "absent"],
        state_dir=state_dir,
    )
    return client_of(state_dir)


def test_a_report_completes_name_columns_and_card_of_the_run_it_judges(client: Any) -> None:
    experiment = client.get_experiment_by_name("gan")
    (run,) = client.search_runs([experiment.experiment_id])
    version = find_version(client, "gan", "2" * 32 + ".dir")

    assert run.info.run_name == "toc_dataset@128 · 32 px · 1.5 kimg · psi0.8_swd 180"
    assert experiment.tags[KIND] == "custom_model_development" and experiment.tags[NOTE] == "Draws pictures."
    assert columns_of(experiment.tags)[1:] == ["params.`kimg`", "metrics.`loss`", "metrics.`fd`", "metrics.`psi0.8_swd`"]
    assert version.description.startswith("# gan\n\n## As judged by gan_report") and "| more |" not in version.description
    assert client.get_registered_model("gan").description == "Draws pictures."


def test_a_registered_model_says_what_it_takes_and_gives(client: Any, tmp_path: Path) -> None:
    from mlflow.models import Model

    version = find_version(client, "gan", "2" * 32 + ".dir")
    described = Model.load(str(tmp_path / ".figment/mlflow/artifacts/gan/models" / logged_model_id(version) / "artifacts/MLmodel"))

    assert [(field.name, field.shape) for field in described.signature.inputs] == [("z", (-1, 64))]
    assert [(field.name, str(field.type), field.shape) for field in described.signature.outputs] == [("pictures", "float32", (-1, 3, 32, 32))]


def test_nothing_in_the_store_is_a_path_of_this_machine(client: Any, state_dir: Path) -> None:
    import sqlite3

    connection = sqlite3.connect(state_dir / "mlflow/mlflow.db")
    said = [row for row in connection.iterdump() if str(state_dir.parent) in row]
    connection.close()
    assert said == [] and client.search_experiments(filter_string="name = 'Default'") == []
