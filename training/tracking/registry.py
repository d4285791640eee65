"""Models in MLflow's registry: registered once for each content, measured, promoted to `champion`, withdrawn.

Weights stay where DVC keeps them: a version is an external model that carries the id of its bytes and of every input they were made from.
"""

import contextlib
import dataclasses
import math
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from training.tracking.appearance import mlflow_signature
from training.tracking.store import URI_VARIABLE, safe_key, safe_tags

CHAMPION = "champion"
OUTPUT_TAG = "figment.output_id"
INPUT_TAG = "figment.input."
METRIC_TAG = "figment.metric."
RETRACTED_TAG = "figment.retracted"
PROMOTION_TAG = "figment.promotion"


@dataclasses.dataclass(frozen=True)
class PromotionRule:
    """When a model version may become champion: its `metric` is within the bounds, and not worse than that of the present champion."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    better: Literal["higher", "lower"] = "higher"


def register_version(
    client: Any,
    *,
    run_id: str,
    experiment_id: str,
    model: str,
    output_id: str,
    tags: Mapping[str, str],
    card: str = "",
    signature: Mapping[str, Any] | None = None,
) -> str:
    """The registered version of `model` that holds `output_id`, made if there is none yet. Returns its number.

    tags: further tags of the version, such as `figment.input.<name>` and the output's path. card: its description, in Markdown.
    signature: a `Signature` as a mapping.
    """
    # A version for each content, not for each run: the same bytes trained twice are one model.
    found = find_version(client, model, output_id)
    if found is not None:
        return str(found.version)
    wanted = safe_tags({OUTPUT_TAG: output_id, **tags})
    logged = _logged_model(client, experiment_id, model, run_id, wanted, signature)
    _ensure_registered(client, experiment_id, model)
    source = f"models:/{logged.model_id}"
    with _process_wide_store(client.tracking_uri):
        version = client.create_model_version(
            model, source=source, run_id=run_id, tags=wanted, description=card or None, model_id=logged.model_id, await_creation_for=0
        )
    return str(version.version)


def find_version(client: Any, model: str, output_id: str) -> Any | None:
    """The version of `model` tagged with `output_id`, or None."""
    return next((version for version in versions(client, model) if version.tags.get(OUTPUT_TAG) == output_id), None)


def versions(client: Any, model: str) -> list[Any]:
    """Every version of `model`, newest first."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{model}'", max_results=200, order_by=["version_number DESC"], page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def logged_model_id(version: Any) -> str | None:
    """The logged model behind `version`, from its source: a SQLite registry forgets the id it was given."""
    return version.source.removeprefix("models:/") if (version.source or "").startswith("models:/m-") else None


def record_metrics(client: Any, version: Any, metrics: Mapping[str, float]) -> None:
    """Log `metrics` to the run and the model behind `version`; values that are there already are not logged again."""
    from mlflow.entities import Metric

    # The same report sent twice (a reply that got lost) must not make a second point.
    known = {metric.key: metric.value for metric in _model_metrics(client, version)}
    new = {safe_key(name): float(value) for name, value in metrics.items() if known.get(safe_key(name)) != float(value)}
    now_ms = time.time_ns() // 1_000_000
    entities = [Metric(name, value, now_ms, 0, model_id=logged_model_id(version)) for name, value in new.items()]
    for start in range(0, len(entities), 1000):
        client.log_batch(version.run_id, metrics=entities[start : start + 1000])


def promote(client: Any, version: Any, metrics: Mapping[str, float], rule: PromotionRule) -> str:
    """Move `champion` to `version` when `rule` allows it. Returns the reason in words, which is tagged on the version too."""
    if rule.metric in metrics:
        _tag(client, version, METRIC_TAG + rule.metric, repr(float(metrics[rule.metric])))
    # Judged against the present champion; a retracted one holds the title no longer.
    holder = champion(client, version.name)
    allowed, reason = judge(version, metrics, rule, holder)
    if allowed:
        client.set_registered_model_alias(version.name, CHAMPION, version.version)
    _tag(client, version, PROMOTION_TAG, reason)
    return reason


def judge(version: Any, metrics: Mapping[str, float], rule: PromotionRule, holder: Any | None) -> tuple[bool, str]:
    """Whether `version` becomes champion in place of `holder`, and why, in words."""
    if version.tags.get(RETRACTED_TAG) == "true":
        return False, f"not promoted: version {version.version} was trained on retracted data"
    value = metrics.get(rule.metric)
    if value is None:
        return False, f"not promoted: the report has no metric {rule.metric}; it has {', '.join(sorted(metrics)) or 'none'}"
    # Written so that a value that is not a number holds no bound.
    if rule.at_least is not None and not value >= rule.at_least:
        return False, f"not promoted: {rule.metric} {value:.6g} is below the {rule.at_least:.6g} asked for"
    if rule.at_most is not None and not value <= rule.at_most:
        return False, f"not promoted: {rule.metric} {value:.6g} is above the {rule.at_most:.6g} asked for"
    if math.isnan(value):
        return False, f"not promoted: {rule.metric} is not a number"
    if holder is None or str(holder.version) == str(version.version):
        return True, f"promoted: {rule.metric} {value:.6g} holds the rule"
    recorded = holder.tags.get(METRIC_TAG + safe_key(rule.metric))
    if recorded is None:
        return True, f"promoted: {rule.metric} {value:.6g}; the champion before, version {holder.version}, has no {rule.metric} on record"
    worse = value < float(recorded) if rule.better == "higher" else value > float(recorded)
    compared = f"{rule.metric} {value:.6g}, the champion version {holder.version} has {float(recorded):.6g}, {rule.better} is better"
    return (False, f"not promoted: {compared}") if worse else (True, f"promoted: {compared}")


def champion(client: Any, model: str) -> Any | None:
    """The version of `model` that is champion, or None. A retracted version does not count as one."""
    if CHAMPION not in _aliases(client, model):
        return None
    version = client.get_model_version_by_alias(model, CHAMPION)
    return None if version.tags.get(RETRACTED_TAG) == "true" else version


def withdraw(client: Any, version: Any, reason: str) -> bool:
    """Tag `version` as trained on retracted data and take `champion` from it. Returns whether it was champion."""
    _tag(client, version, RETRACTED_TAG, "true")
    _tag(client, version, "figment.retracted_reason", reason)
    if _aliases(client, version.name).get(CHAMPION) != str(version.version):
        return False
    client.delete_registered_model_alias(version.name, CHAMPION)
    return True


def _tag(client: Any, version: Any, key: str, value: str) -> None:
    for name, text in safe_tags({key: value}).items():
        client.set_model_version_tag(version.name, version.version, name, text)


def _registered(client: Any, model: str) -> list[Any]:
    return list(client.search_registered_models(f"name = '{model}'", max_results=1))


@contextlib.contextmanager
def _process_wide_store(uri: str) -> Iterator[None]:
    """A SQLite registry looks a `models:/` source up in the store that the environment names, whatever store it is itself."""
    before = os.environ.get(URI_VARIABLE)
    os.environ[URI_VARIABLE] = uri
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(URI_VARIABLE, None)
        else:
            os.environ[URI_VARIABLE] = before


def _aliases(client: Any, model: str) -> dict[str, str]:
    """Alias → version number of `model`; none when it is not registered."""
    return {alias: str(version) for found in _registered(client, model) for alias, version in found.aliases.items()}


def _ensure_registered(client: Any, experiment_id: str, model: str) -> None:
    """A registered model is described as its experiment is, unless a person describes it."""
    words = client.get_experiment(experiment_id).tags.get("mlflow.note.content")
    found = _registered(client, model)
    if not found:
        client.create_registered_model(model, description=words)
    elif words and not found[0].description:
        client.update_registered_model(model, words)


def _logged_model(
    client: Any, experiment_id: str, model: str, run_id: str, tags: Mapping[str, str], signature: Mapping[str, Any] | None = None
) -> Any:
    """The logged model of this run and content: that of an attempt cut short is taken up again."""
    found = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'", max_results=50)
    for logged in found:
        if logged.tags.get(OUTPUT_TAG) == tags[OUTPUT_TAG] and logged.name == model:
            break
    else:
        from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

        logged = client.create_logged_model(
            experiment_id, name=model, source_run_id=run_id, tags={**tags, MLFLOW_MODEL_IS_EXTERNAL: "true"}, model_type="figment"
        )
    if str(logged.status) != "READY":
        _describe_external(client, logged, signature)
        logged = client.finalize_logged_model(logged.model_id, "READY")
    return logged


def _describe_external(client: Any, logged: Any, signature: Mapping[str, Any] | None) -> None:
    """Write the small `MLmodel` file without which the registry refuses a model whose weights lie elsewhere, with what it takes and gives."""
    import tempfile
    from pathlib import Path

    from mlflow.models.utils import get_external_mlflow_model_spec

    with tempfile.TemporaryDirectory() as folder:
        described = get_external_mlflow_model_spec(logged)
        # MLflow's own is a dummy: a boolean to a boolean.
        described.signature = mlflow_signature(**signature) if signature else None
        described.save(str(Path(folder) / "MLmodel"))
        client.log_model_artifacts(logged.model_id, folder)


def _model_metrics(client: Any, version: Any) -> list[Any]:
    model_id = logged_model_id(version)
    return list(client.get_logged_model(model_id).metrics or []) if model_id else []
