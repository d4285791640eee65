"""What a card says of an artifact that its files do not: its version, what it was made from and under which licences, and the reports on it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from orchestration.bridge.facts import flat_numbers
from orchestration.bridge.project import Project
from orchestration.export.cards import About, Source
from orchestration.export.copying import ExportError, recorded_files

_LICENCE = "licence"


def about(project: Project, name: str) -> About:
    """From dvc.yaml, dvc.lock, and the recorded files of the artifacts around it."""
    stage, entries = project.graph[name], project.lock().entries
    id = entries[name].output_id(stage)
    assert id is not None, name
    return About(name, id, stage.desc, _sources(project, name), _metrics(project, name))


def _sources(project: Project, name: str) -> list[Source]:
    """Everything it was made from, directly or not, as far as the versions on record are those that were used; in the graph's order."""
    graph, entries = project.graph, project.lock().entries
    found: dict[str, Source] = {}
    pending = [name]
    while pending:
        made = pending.pop()
        for path, producer in graph.artifact_deps(made).items():
            id = entries[made].deps.get(path)
            if producer in found or id is None:
                continue
            is_current = producer in entries and id in entries[producer].outs.values()
            found[producer] = Source(producer, id, _licences(project, producer) if is_current else {})
            pending += [producer] if is_current else []
    return [found[producer] for producer in graph.stages if producer in found]


def _licences(project: Project, name: str) -> Mapping[str, int]:
    """Rows by licence of the artifact's main tables: those in numbered shards, else all of them."""
    import pyarrow.parquet as pq

    try:
        files = recorded_files(project, name)
    except ExportError:
        return {}
    tables = [relative for relative in sorted(files) if relative.endswith(".parquet")]
    numbered = [relative for relative in tables if Path(relative).stem.rpartition("-")[2].isdigit()]
    counts: Counter[str] = Counter()
    for relative in numbered or tables:
        with pq.ParquetFile(files[relative]) as file:
            if _LICENCE in file.schema_arrow.names:
                counts.update(licence for licence in file.read([_LICENCE])[_LICENCE].to_pylist() if licence)
    return dict(sorted(counts.items()))


def _metrics(project: Project, name: str) -> dict[str, dict[str, float]]:
    """The numbers of metrics.json of each artifact that was made from this version."""
    graph, entries = project.graph, project.lock().entries
    ours = set(entries[name].outs.values())
    reports = {}
    for report in graph.stages:
        if name not in graph.upstream(report) or report not in entries or not ours.intersection(entries[report].deps.values()):
            continue
        try:
            files = recorded_files(project, report)
        except ExportError:
            continue
        if "metrics.json" in files:
            reports[report] = flat_numbers(json.loads(files["metrics.json"].read_text(encoding="utf-8")))
    return reports
