"""How trainings look in MLflow's pages: the kind and description of an experiment, its view of chosen columns, the names of runs, model cards.

MLflow keeps all of it as tags and descriptions, so that whoever opens its pages, in whatever browser, sees the same.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# What MLflow 3 calls an experiment of trainings, rather than of traces of language models. Its pages of 3.17 go by a word in their address
# instead, or by what this browser chose last: links carry it.
AS_TRAININGS = "workflowType=machine_learning"
_KIND_TAG, _KIND = "mlflow.experimentKind", "custom_model_development"
_NOTE_TAG = "mlflow.note.content"
# What was last written there by us: what a person wrote is kept. Tags of this beginning are not shown.
_WRITTEN_TAG = "mlflow.figment.description"
VIEW_ID = "headline"
# A view is saved for all readers in a tag of the experiment (MLflow 3.17: sharedViewState, `{name, createdAt, updatedAt, state}`).
_VIEW_TAG = f"mlflow.sharedViewState.{VIEW_ID}"
_VIEW_NAME = "Headline columns"
_ATTRIBUTE_COLUMNS = ("Models",)
# Parts of a run's name, and of the card that a report completes.
_BETWEEN = " · "
_JUDGED = "\n\n## As judged by "


@dataclasses.dataclass(frozen=True)
class Field:
    """One tensor that a model takes or gives. dtype: as NumPy names it; shape: -1 where any length will do."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a model takes and what it gives."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]


def run_name(*parts: str) -> str:
    """Such as `toc_dataset@128 · 32 px · 1.5 kimg · swd_x1000 183`; empty parts are left out."""
    return _BETWEEN.join(part for part in parts if part)


def amount(samples: int, what: str) -> str:
    """How much a training has seen, in thousands: `1.5 kimg`, `12k molecules`."""
    thousands = f"{samples / 1000:.4g}"
    return f"{thousands} kimg" if what == "images" else f"{thousands}k {what}"


def experiment_tags(known: Mapping[str, str], description: str, program: str = "") -> dict[str, str]:
    """The tags that the experiment lacks, when `known` are those it has: its kind, its program, and our description where no person wrote one."""
    wanted = {} if _KIND_TAG in known else {_KIND_TAG: _KIND}
    wanted |= {"figment.program": program} if program else {}
    if description and known.get(_NOTE_TAG) in (None, "", known.get(_WRITTEN_TAG)):
        wanted |= {_NOTE_TAG: description, _WRITTEN_TAG: description}
    return {key: value for key, value in wanted.items() if known.get(key) != value}


def view_tags(known: Mapping[str, str], columns: Iterable[str], time_ms: int) -> dict[str, str]:
    """The tag that makes `columns` (such as `metrics.loss` and `params.seed`) the view of the experiment's runs; none where it says so already.

    Columns that an earlier training or report chose stay. A view that a person saved again is theirs.
    """
    shown: list[str] = []
    created = time_ms
    if _VIEW_TAG in known:
        try:
            before = json.loads(known[_VIEW_TAG])
            created, shown = before["createdAt"], json.loads(before["state"])["selectedColumns"]
        except (ValueError, KeyError, TypeError):
            return {}  # of another release, or edited by hand
        if created != before["updatedAt"]:
            return {}
    chosen = [f"attributes.`{name}`" for name in _ATTRIBUTE_COLUMNS] + [_column(name) for name in columns]
    chosen = list(dict.fromkeys([*shown, *chosen]))
    if chosen == shown:
        return {}
    state = {"selectedColumns": chosen, "orderByKey": "attributes.start_time", "orderByAsc": False}
    return {_VIEW_TAG: json.dumps({"name": _VIEW_NAME, "createdAt": created, "updatedAt": created, "state": json.dumps(state)})}


def _column(name: str) -> str:
    kind, _, key = name.partition(".")
    return f"{kind}.`{key}`"


def judged_card(card: str, report: str, numbers: Mapping[str, float]) -> str:
    """The card of a model version with what the stage `report` says of it, in place of what it said before."""
    others = [part for part in card.split(_JUDGED)[1:] if part.partition("\n")[0] != report]
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in numbers.items())
    return _JUDGED.join([card.split(_JUDGED, maxsplit=1)[0], *others, f"{report}\n\n| number | value |\n|---|---|\n{rows}"])


def mlflow_signature(inputs: Sequence[Mapping[str, Any]], outputs: Sequence[Mapping[str, Any]]) -> Any:
    """MLflow's own signature of a journalled `Signature`."""
    import numpy
    from mlflow.models.signature import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def schema(fields: Sequence[Mapping[str, Any]]) -> Any:
        return Schema([TensorSpec(numpy.dtype(field["dtype"]), tuple(field["shape"]), field["name"]) for field in fields])

    return ModelSignature(inputs=schema(inputs), outputs=schema(outputs))
