"""Which molecules a model of molecules was allowed to see, written beside it: a judge that saw other splits than the model it judges may have been
taught by what it is to judge, and is refused.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from stages.output_folder import OutputFolder
from training.polymers.conditions import MoleculeModelError

_NAME = "trained_on.json"


@dataclass(frozen=True)
class Origin:
    """data_ids: content ids of the datasets whose training splits were shown, by name. split_column: which splits these are."""

    data_ids: Mapping[str, str]
    split_column: str


def write_origin(output: OutputFolder, input_ids: Mapping[str, str], datasets: Iterable[str], split_column: str) -> None:
    """input_ids: of all inputs of the stage. datasets: those of them that hold molecules."""
    output.write_json(_NAME, asdict(Origin({name: input_ids[name] for name in sorted(set(datasets))}, split_column)))


def read_origin(folder: Path) -> Origin:
    """Raises MoleculeModelError."""
    path = folder / _NAME
    try:
        return Origin(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise MoleculeModelError(f"{path}: does not say which molecules the model saw ({error}); make the model again") from None


def check_same_splits(judge: Path, model: Path) -> None:
    """Raises MoleculeModelError where what taught the judge may hold what the model was, or was not, to be judged on.

    Datasets that only one of them saw cannot leak into the other's; of one that both saw, the rows and the splits must be the same.
    """
    one, other = read_origin(judge), read_origin(model)
    shared = sorted(one.data_ids.keys() & other.data_ids.keys())
    changed = [name for name in shared if one.data_ids[name] != other.data_ids[name]]
    if shared and (changed or one.split_column != other.split_column):
        what = f"other rows of {', '.join(changed)}" if changed else f"{one.split_column} where the model has {other.split_column}"
        raise MoleculeModelError(
            f"{judge} was taught by {what}: molecules held out from {model} may have taught it (leakage); make both again from the same data"
        )
