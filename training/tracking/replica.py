"""Carry journals into MLflow: what is there already is never sent twice, what fails stays in the journal for the next time."""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.tracking import registry
from training.tracking.appearance import AS_TRAININGS, judged_card, run_name, view_tags
from training.tracking.journal import REFUSED_NAME, Event, has_unsent, openings, read_events, read_sent, write_sent
from training.tracking.store import (
    MAX_DIGEST_CHARACTERS,
    MAX_EXPERIMENT_TAG_CHARACTERS,
    MAX_RUN_NAME_CHARACTERS,
    ensure_experiment,
    flat_params,
    run_link,
    safe_key,
    safe_tags,
    store_name,
    web_address,
)

_BATCH_METRICS = 1000
_BATCH_PARAMS = 100
_KEY_TAG, _ATTEMPT_TAG = "figment.run_key", "figment.attempt"
_NOW_TAG = "figment.now."
_TITLE_TAG, _OUTCOME_TAG = "figment.title", "figment.outcome"


@dataclasses.dataclass(frozen=True)
class Report:
    """Where a report went: the run, the model version, why the champion moved or stayed (None without a rule), and pages of MLflow by name."""

    run_id: str | None
    version: str
    promotion: str | None
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)


class Replica:
    """One journal's copy in MLflow. Not safe across threads; its owner holds the folder's lock."""

    def __init__(self, folder: Path, client: Any, uri: str) -> None:
        self.folder = folder
        self.run_id: str | None = None
        self.report: Report | None = None
        self.experiment_id = ""
        self._client = client
        self._uri = uri
        sent = read_sent(folder)
        # A store other than last time has seen nothing of this journal.
        self._store = store_name(uri, folder)
        self._sent: dict[str, Any] = sent if sent.get("store") == self._store else {"store": self._store, "offset": 0}
        self._openings = openings(folder)
        self._newest_step: dict[str, int] = {}
        self._history: dict[str, set[int]] = {}
        # Steps by key of the group under way, which MLflow's history does not show yet.
        self._under_way: dict[str, set[int]] = {}

    def send_pending(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Send what the journal has beyond the last sent line, until `should_stop`. Raises whatever MLflow raises; nothing is lost by it."""
        try:
            # Group by group, after each noting how far MLflow has everything: a crash repeats one group at most, and repeats are recognised.
            if self.run_id is None and self._sent.get("run_id"):
                self._take_up(self._sent["run_id"])
            for events, offset in _grouped(read_events(self.folder, offset=self._sent["offset"])):
                self._apply_or_refuse(events)
                self._sent["offset"] = offset
                write_sent(self.folder, self._sent)
                if should_stop():
                    return
        except Exception:  # raised again: whatever failed may have been carried out all the same, so MLflow is asked afresh before the next sending
            self.run_id = None
            raise

    def link(self) -> str | None:
        """The page of the run in MLflow's web interface, where there is one."""
        return run_link(self._uri, self.experiment_id, self.run_id) if self.run_id else None

    def _apply_or_refuse(self, events: list[tuple[Event, int]]) -> None:
        """Carry out the events; one that MLflow will never take is set aside with its reason, so that it does not block what follows."""
        from mlflow.exceptions import MlflowException

        try:
            self._apply(events)
        except MlflowException as error:
            if not self._is_refusal(error):
                raise
            self._refuse({"kind": events[0][0]["kind"]}, error)
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            self._refuse({"kind": events[0][0]["kind"]}, error)

    def _is_refusal(self, error: Any) -> bool:
        """Whether MLflow found the values bad, rather than being unwell or having had our run deleted."""
        if error.error_code != "INVALID_PARAMETER_VALUE":
            return False
        return self.run_id is None or self._client.get_run(self.run_id).info.lifecycle_stage == "active"

    def _apply(self, events: list[tuple[Event, int]]) -> None:
        event = events[0][0]
        kind = event["kind"]
        # Metrics go in batches; everything else is one request each, in the order of the journal.
        if kind in ("metrics", "system"):
            limit = self._resume_limit(events[-1][1])
            self._under_way = {}
            self._send_metrics([metric for event, _ in events for metric in self._new_metrics(event, limit)])
        elif kind == "open":
            self._open(event)
        elif kind == "tags":
            self._client.log_batch(self._run(), tags=_tags(event["values"]))
        elif kind == "artifact":
            self._send_artifact(event)
        elif kind == "model":
            self._send_model(event)
        elif kind == "name":
            self._name(self._run(), event["title"], event["outcome"])
            self._show_columns(self.experiment_id, event["columns"], event["time_ms"])
        elif kind == "report":
            self._send_report(event)
        elif kind == "status":
            self._client.set_terminated(self._run(), event["status"], end_time=event["time_ms"])

    def _run(self) -> str:
        if self.run_id is None:
            raise LookupError(f"{self.folder}: the journal has no opening before its first entry; remove this folder if its training is not wanted")
        return self.run_id

    def _open(self, event: Event) -> None:
        """Find this training's run or make one, and write down what it is and that it is running."""
        self.experiment_id = ensure_experiment(self._client, event["stage"], self._uri, event.get("description", ""), event.get("program", ""))
        attempt = str(event["attempt"])
        identity = {_KEY_TAG: event["run_key"], _ATTEMPT_TAG: attempt}
        run = _find_run(self._client, self.experiment_id, identity)
        if run is None:
            title = event.get("title") or f"{event['stage']} {event['run_key'][:8]}"
            name = run_name(title, f"attempt {attempt}" if attempt != "1" else "")
            run = self._client.create_run(self.experiment_id, start_time=event["time_ms"], tags=identity, run_name=name)
        self._remember(run)
        # The run is written down before anything is sent to it: found again after a crash, it is not made twice.
        self._sent |= {"run_id": run.info.run_id}
        write_sent(self.folder, self._sent)
        if run.info.status != "RUNNING":
            self._client.update_run(run.info.run_id, status="RUNNING")
        params, known = flat_params(event["config"]), run.data.params
        self._send_params({key: value for key, value in params.items() if key not in known})
        # MLflow never changes a parameter; what another start of a training did change, such as its budget, a tag tells as it is now.
        moved = {key for key, value in params.items() if known.get(key, value) != value or f"{_NOW_TAG}{key}" in run.data.tags}
        self._client.log_batch(run.info.run_id, tags=_tags({**event["tags"], **{f"{_NOW_TAG}{key}": params[key] for key in moved}}))
        if event["inputs"]:
            self._client.log_inputs(run.info.run_id, datasets=[_dataset_input(item) for item in event["inputs"]])

    def _take_up(self, run_id: str) -> None:
        """Continue the run of the last sending; a run deleted since is made anew from the whole journal."""
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            run = None
        if run is None or run.info.lifecycle_stage != "active":
            self._sent = {"store": self._store, "offset": 0}
        else:
            self._remember(run)

    def _remember(self, run: Any) -> None:
        self.run_id, self.experiment_id = run.info.run_id, run.info.experiment_id
        # The newest metrics with their steps: `data.metrics` has their values only.
        self._newest_step = {metric.key: metric.step for metric in run.data._metric_objs}
        self._history = {}

    def _resume_limit(self, offset: int) -> float:
        """The last step that counts among the metric lines before `offset`: where a later start of the same attempt took up from."""
        # The opening before this line says which attempt it belongs to; later openings of that attempt say from which step it was written again.
        attempt = next((attempt for end, attempt, _ in reversed(self._openings) if end <= offset), None)
        return min((limit for end, later, limit in self._openings if end > offset and later == attempt), default=math.inf)

    def _new_metrics(self, event: Event, limit: float) -> Iterator[Any]:
        """The values of one line that MLflow lacks and that no later, resumed part of the training wrote again."""
        from mlflow.entities import Metric

        step = event["step"]
        if event["kind"] == "metrics" and step > limit:
            return
        for name, value in event["values"].items():
            key = safe_key(name)
            if self._is_new(key, step):
                yield Metric(key, float(value), event["time_ms"], step)

    def _is_new(self, key: str, step: int) -> bool:
        # Above the newest step nothing can be there yet. Below it (a resumed start, a repeat) MLflow's own history is asked, once for each key.
        newest = self._newest_step.get(key)
        if newest is None or step > newest:
            self._newest_step[key] = step
            self._under_way.setdefault(key, set()).add(step)
            if key in self._history:
                self._history[key].add(step)
            return True
        if key not in self._history:
            logged = {metric.step for metric in self._client.get_metric_history(self._run(), key)}
            self._history[key] = logged | self._under_way.get(key, set())
        known = step in self._history[key]
        self._history[key].add(step)
        return not known

    def _send_metrics(self, metrics: list[Any]) -> None:
        """Log in batches; one value that MLflow will never take is set aside with its reason, the others go on."""
        from mlflow.exceptions import MlflowException

        for start in range(0, len(metrics), _BATCH_METRICS):
            batch = metrics[start : start + _BATCH_METRICS]
            try:
                self._client.log_batch(self._run(), metrics=batch)
            except MlflowException as error:
                if not self._is_refusal(error):
                    raise
                if len(batch) == 1:
                    self._refuse({"metric": batch[0].key, "step": batch[0].step, "value": str(batch[0].value)}, error)
                else:
                    self._send_metrics(batch[: len(batch) // 2])
                    self._send_metrics(batch[len(batch) // 2 :])

    def _send_params(self, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        entities = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(entities), _BATCH_PARAMS):
            self._client.log_batch(self._run(), params=entities[start : start + _BATCH_PARAMS])

    def _send_artifact(self, event: Event) -> None:
        source = artifact_source(self.folder, event)
        if isinstance(source, str):
            self._refuse({"artifact": event["path"]}, source)
            return
        if source.is_dir():
            self._client.log_artifacts(self._run(), str(source), event["folder"] or source.name)
        else:
            self._client.log_artifact(self._run(), str(source), event["folder"] or None)

    def _send_model(self, event: Event) -> None:
        registry.register_version(
            self._client,
            run_id=self._run(),
            experiment_id=self.experiment_id,
            model=event["model"],
            output_id=event["output_id"],
            tags={"figment.output_path": event["path"], **event["tags"]},
            card=event.get("card", ""),
            signature=event.get("signature"),
        )

    def _name(self, run_id: str, title: str, outcome: str) -> None:
        self._client.update_run(run_id, name=run_name(title, outcome)[:MAX_RUN_NAME_CHARACTERS])
        self._client.log_batch(run_id, tags=_tags({_TITLE_TAG: title, _OUTCOME_TAG: outcome}))

    def _show_columns(self, experiment_id: str, columns: Sequence[str], time_ms: int) -> None:
        """Make the columns part of the experiment's view, as far as they fit into a tag."""
        columns = [f"{kind}.{safe_key(name)}" for kind, _, name in (column.partition(".") for column in columns)]
        known = self._client.get_experiment(experiment_id).tags
        for key, value in view_tags(known, columns, time_ms).items():
            if len(value) <= MAX_EXPERIMENT_TAG_CHARACTERS:
                self._client.set_experiment_tag(experiment_id, key, value)

    def _send_report(self, event: Event) -> None:
        # A report speaks of a model that a training registers: it waits while such a journal is still to be sent, and is refused when none is.
        version = registry.find_version(self._client, event["model"], event["output_id"])
        if version is None and any(has_unsent(other) for other in self.folder.parent.iterdir() if other != self.folder):
            raise LookupError(f"no version of {event['model']} has the id {event['output_id']} yet, and a training of it has not been sent whole")
        if version is None:
            self._refuse({"report": event["model"], "output_id": event["output_id"]}, "no version of the model has this id")
            return
        metrics = {name: float(value) for name, value in event["metrics"].items()}
        registry.record_metrics(self._client, version, metrics)
        for artifact in event["artifacts"]:
            source = artifact_source(self.folder, artifact)
            if isinstance(source, str):
                self._refuse({"artifact": artifact["path"]}, source)
            else:
                self._client.log_artifact(version.run_id, str(source), artifact["folder"] or None)
        reason = None
        if event["promote"]:
            reason = registry.promote(self._client, version, metrics, registry.PromotionRule(**event["promote"]))
        if headline := event.get("headline"):
            self._show_report(event, version, {name: metrics[name] for name in headline})
        self.report = Report(version.run_id, str(version.version), reason, self._links(version))

    def _show_report(self, event: Event, version: Any, headline: Mapping[str, float]) -> None:
        """What the report says first: in the version's card, in the table of runs, and its outcome in the run's name."""
        self._client.update_model_version(version.name, version.version, judged_card(version.description or "", event["report"], headline))
        run = self._client.get_run(version.run_id)
        self._show_columns(run.info.experiment_id, [f"metrics.{name}" for name in headline], event["time_ms"])
        rule = event["promote"] or {}
        told = rule["metric"] if rule.get("metric") in headline else next(iter(headline))
        if title := run.data.tags.get(_TITLE_TAG):
            self._name(version.run_id, title, f"{told} {headline[told]:.3g}")

    def _links(self, version: Any) -> dict[str, str]:
        address, experiment = web_address(self._uri), self._client.get_run(version.run_id).info.experiment_id
        run = run_link(self._uri, experiment, version.run_id)
        if address is None or run is None:
            return {}
        return {"mlflow_run": run, "mlflow_model": f"{address}/#/models/{version.name}/versions/{version.version}?{AS_TRAININGS}"}

    def _refuse(self, what: Mapping[str, Any], why: object) -> None:
        line = {**what, "reason": str(why).splitlines()[0], "time_ms": time.time_ns() // 1_000_000}
        with (self.folder / REFUSED_NAME).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def artifact_source(folder: Path, event: Mapping[str, Any]) -> Path | str:
    """The file or folder to send for an artifact event, or in words why it cannot be sent any more."""
    if event["copy"]:
        copied = folder / event["copy"]
        return copied if copied.exists() else "its copy in the journal is gone"
    original = Path(event["path"])
    if not original.exists():
        return "the file is gone"
    if original.is_file() and original.stat().st_mtime_ns != event["mtime_ns"]:
        return "the file was changed before it could be sent"
    return original


def _grouped(events: Iterator[tuple[Event, int]]) -> Iterator[tuple[list[tuple[Event, int]], int]]:
    """Metric lines in groups of up to a batch of values, every other event alone; each group with the offset behind it."""
    # MLflow refuses more than so many values in one call; all other events are calls of their own, and order must be kept.
    group: list[tuple[Event, int]] = []
    count = 0
    for event, offset in events:
        values = len(event["values"]) if event["kind"] in ("metrics", "system") else math.inf
        if group and count + values > _BATCH_METRICS:
            yield group, group[-1][1]
            group, count = [], 0
        if values is math.inf:
            yield [(event, offset)], offset
        else:
            group.append((event, offset))
            count += int(values)
    if group:
        yield group, group[-1][1]


def _find_run(client: Any, experiment_id: str, identity: Mapping[str, str]) -> Any | None:
    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in identity.items())
    found = client.search_runs([experiment_id], filter_string=wanted, max_results=1, order_by=["attributes.start_time ASC"])
    return client.get_run(found[0].info.run_id) if found else None


def _tags(values: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import RunTag

    return [RunTag(key, value) for key, value in safe_tags(values).items()]


def _dataset_input(item: Mapping[str, str]) -> Any:
    """A dataset whose digest is our id: MLflow's own digest covers 32 bits of the first 10,000 rows."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=item["name"],
        digest=item["id"][:MAX_DIGEST_CHARACTERS],
        source_type="local",
        source=json.dumps({"uri": item["path"]}),
        schema=None,
        profile=None,
    )
    return DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", "training")])
