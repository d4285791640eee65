"""Papers and books that must not be used any more: those named in retractions.yaml, and those that their source has withdrawn.

The data follow by themselves: retractions.yaml is an input of the stages that list what may be used, and everything made from them follows. Models do
not, because nobody wants a training to start for it; they are tagged in the registry instead and lose the title of champion.
"""

import dataclasses
import datetime
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.bridge.cache import cached_members
from orchestration.bridge.project import Project
from orchestration.records.mlflow_runs import MlflowUnreachableError, ModelVersion, flag_models_trained_on, model_versions, models_made_from
from stages.files import write_file_atomically
from stages.params import ParamsError
from stages.retractions import RETRACTIONS_FILE, RetractionsError, read_requests
from training.tracking.store import safe_key

# Columns that name papers or books in the tables of an artifact (`id` does in paper_texts), and columns that name contents.
_ITEM_COLUMNS = ("id", "paper_ids", "paper_id", "item_id")
_CONTENT_COLUMNS = ("sha256", "image_sha256")
_DOI_PREFIX = re.compile(r"^(doi:|https?://(dx\.)?doi\.org/)", re.IGNORECASE)


class RetractionError(Exception):
    """retractions.yaml cannot be read."""


@dataclasses.dataclass(frozen=True)
class Item:
    """What can be withdrawn: a paper, or a book of an archive. image: the sha256 of its picture, or ""."""

    id: str
    doi: str
    url: str
    title: str
    image: str


@dataclasses.dataclass(frozen=True)
class Flagged:
    """What became of the models. certain: made from a withdrawn item for sure; the others may have been: what they were made from is gone."""

    certain: tuple[ModelVersion, ...] = ()
    possible: tuple[ModelVersion, ...] = ()

    @property
    def all(self) -> tuple[ModelVersion, ...]:
        """Both kinds."""
        return self.certain + self.possible

    def lines(self) -> list[str]:
        """One sentence for each version."""
        told = [(version, "was made from withdrawn items") for version in self.certain]
        told += [
            (version, "may have been made from withdrawn items: the version of the data it read is no longer in the cache")
            for version in self.possible
        ]
        ending = {True: "; tagged, and no longer champion", False: "; tagged"}
        return [f"{version.model} version {version.version} {words}{ending[version.is_champion]}" for version, words in told]


def find_item(root: Path, wanted: str) -> Item | None:
    """The paper or book with this id, DOI (also as an address) or address; None when there is none."""
    plain = _plain(wanted)
    return next((item for item in _items(root) if plain in (_plain(item.id), _plain(item.doi), _plain(item.url))), None)


def near_misses(root: Path, wanted: str, most: int = 3) -> list[str]:
    """Ids of papers and books that look like `wanted`."""
    import difflib

    return difflib.get_close_matches(wanted, [item.id for item in _items(root)], n=most, cutoff=0.75)


def retract(root: Path, id: str, reason: str, day: datetime.date) -> bool:
    """Enter the item in retractions.yaml; False when it is there already. Raises RetractionError when the file cannot be read."""
    path = root / RETRACTIONS_FILE
    try:
        entered = read_requests(path)
    except (RetractionsError, ParamsError) as error:
        raise RetractionError(f"{error}; mend it by hand") from error
    if any(_plain(request.id) == _plain(id) for request in entered):
        return False
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    # An entry is appended as text, so that comments stay.
    body = re.sub(r"^\[\]\s*$", "", text, flags=re.MULTILINE).rstrip("\n")
    entry = f"- id: {json.dumps(id, ensure_ascii=False)}\n  reason: {json.dumps(reason, ensure_ascii=False)}\n  day: {day.isoformat()}\n"
    write_file_atomically(path, (f"{body}\n{entry}" if body else entry).encode())
    return True


def withdrawn_items(root: Path) -> dict[str, str]:
    """Id → sha256 of its picture (or "") for everything that the KINDS list as withdrawn."""
    return {id: image for kind in KINDS for id, image in _withdrawn(root, kind).items()}


def flag_withdrawn(project: Project, items: Mapping[str, str] | None = None) -> Flagged:
    """Tag every model version made from an artifact that held one of `items` (id → picture), and take `champion` from it.

    items: what is listed as withdrawn when None. Whether an artifact held an item is read from that very version of it, in the
    workspace or DVC's cache. Raises MlflowUnreachableError.
    """
    wanted = withdrawn_items(project.root) if items is None else dict(items)
    held, unknown = _inputs_with(project, wanted)
    certain = flag_models_trained_on(project.root, held, _reason(wanted, "trained on")) if held else []
    possible = flag_models_trained_on(project.root, unknown, _reason(wanted, "perhaps trained on")) if unknown else []
    return Flagged(tuple(certain), tuple(possible))


def tag_models(project: Project, items: Mapping[str, str] | None = None, *, say: Callable[[str], None]) -> Flagged | None:
    """Tag the models made from `items` (see flag_withdrawn), and say so; None where MLflow is away, which is said too."""
    try:
        flagged = flag_withdrawn(project, items)
    except MlflowUnreachableError as error:
        say(f"figment: models could not be tagged: {error}; run `figment retract --sync` when MLflow is back")
        return None
    for line in flagged.lines():
        say(line)
    return flagged


def untagged_models(project: Project) -> list[ModelVersion]:
    """The versions that `flag_withdrawn` would tag. Raises MlflowUnreachableError."""
    held, unknown = _inputs_with(project, withdrawn_items(project.root))
    return models_made_from(project.root, held | unknown)


def _inputs_with(project: Project, wanted: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Of the ids that model versions were made from: those that held one of `wanted`, and those of which nobody can tell any more."""
    held: set[str] = set()
    unknown: set[str] = set()
    if not wanted:
        return held, unknown
    # A picture taints only where no paper that stays shows it as well.
    ids, pictures = set(wanted), _only_theirs(project.root, wanted)
    lists = _lists_of(project.root, wanted)
    # Also of what is tagged already: a later model may have started from its weights.
    for name, id in sorted({used for version in model_versions(project.root) for used in version.inputs.items()}):
        tables = _tables(project, id)
        if tables is None:
            # Only what is made from the list that an item is in can have held it.
            unknown |= {id} if _is_made_from(project, name, lists) else set()
        elif any(_holds(table, ids, pictures) for table in tables):
            held.add(id)
    return held, unknown


def _reason(wanted: Collection[str], how: str) -> str:
    shown = ", ".join(sorted(wanted)[:5])
    return f"{how} withdrawn items, among {shown}{f' and {len(wanted) - 5:,} more' if len(wanted) > 5 else ''}"


def _only_theirs(root: Path, wanted: Mapping[str, str]) -> set[str]:
    """Pictures that no paper which is still there shows."""
    live = {item.image for item in _papers(root) if item.id not in wanted}
    return {picture for picture in wanted.values() if picture} - live


def _tables(project: Project, id: str) -> list[Path] | None:
    """The Parquet files of the version `id` of an artifact; None when its bytes are nowhere."""
    # The very version that the model read, from DVC's cache: today's table no longer holds what was withdrawn.
    members = cached_members(project.cache_dir, id)
    tables = None if members is None else [path for relative, path in members.items() if relative.endswith(".parquet")]
    return tables if tables is not None and all(path.is_file() for path in tables) else None


def _holds(table: Path, ids: Collection[str], pictures: Collection[str]) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(table).names
        columns = [name for name in (*_ITEM_COLUMNS, *_CONTENT_COLUMNS) if name in names]
        content = pq.read_table(table, columns=columns) if columns else None
    except (OSError, pa.ArrowInvalid):
        return True  # A damaged table cannot clear anybody.
    if content is None or ("reason" in names):
        return False  # Tables of set-aside items say why they are not in.
    for column in content.column_names:
        looked_for = ids if column in _ITEM_COLUMNS else pictures
        if any(value in looked_for for value in _flat(content[column].to_pylist())):
            return True
    return False


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def _is_made_from(project: Project, name: str, lists: Collection[str]) -> bool:
    there = [stage for stage in lists if stage in project.graph.stages]
    # MLflow has no `@` in the names of tags.
    return name in {safe_key(stage) for stage in (*there, *project.graph.downstream(there))}


def _papers(root: Path) -> Iterator[Item]:
    import pyarrow.parquet as pq

    for path in sorted((root / "data/papers").glob("papers-*.parquet")):
        for row in pq.read_table(path, columns=["id", "doi", "url", "title", "image_sha256"]).to_pylist():
            yield Item(row["id"], row["doi"] or "", row["url"] or "", row["title"] or "", row["image_sha256"] or "")


def _books(root: Path) -> Iterator[Item]:
    import pyarrow.parquet as pq

    path = root / "data/archive_items/items.parquet"
    if path.is_file():
        for row in pq.read_table(path).to_pylist():
            yield Item(row["identifier"], "", row.get("url") or "", row.get("title") or "", "")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of things that can be withdrawn. stage: lists which of them may be used, and has withdrawn.parquet. items: those that ever came in."""

    stage: str
    items: Callable[[Path], Iterator[Item]]


KINDS = (Kind("papers", _papers), Kind("book_pages", _books))


def _items(root: Path) -> Iterator[Item]:
    for kind in KINDS:
        yield from kind.items(root)


def _withdrawn(root: Path, kind: Kind) -> dict[str, str]:
    path = root / "data" / kind.stage / "withdrawn.parquet"
    if not path.is_file():
        return {}
    import pyarrow.parquet as pq

    rows = pq.read_table(path).to_pylist()
    return {row["id"]: row.get("image_sha256") or "" for row in rows}


def _lists_of(root: Path, ids: Collection[str]) -> list[str]:
    """The stages that list one of `ids` as used or withdrawn; all where none of them does."""
    named = [kind.stage for kind in KINDS if not set(ids).isdisjoint([item.id for item in kind.items(root)] + list(_withdrawn(root, kind)))]
    return named or [kind.stage for kind in KINDS]


def _plain(text: str) -> str:
    return _DOI_PREFIX.sub("", text.strip()).lower()
