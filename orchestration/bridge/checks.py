"""Checks that hold for any artifact: its bytes are what DVC recorded, its table is one table, and it did not lose most of its rows."""

import math
from collections.abc import Iterator
from typing import Any

import dagster as dg

from .facts import parquet_rows, parquet_schemas
from .graph import Stage
from .meta import StageMeta, stage_meta
from .mirror import key_in
from .project import Project
from .translator import op_names

BYTES, SCHEMA, ROWS = "bytes_have_recorded_id", "one_schema", "rows_kept"


def build_stage_checks(project: Project) -> list[dg.AssetChecksDefinition]:
    """One step per artifact that makes all of its general checks; those on tables only where `parquet` is among the stage's kinds."""
    names = op_names(project.graph)
    return [_stage_checks(project, stage, stage_meta(stage), names[name]) for name, stage in project.graph.stages.items()]


def _stage_checks(project: Project, stage: Stage, meta: StageMeta, op: str) -> dg.AssetChecksDefinition:
    key = key_in(project.graph, stage.name)
    specs = [dg.AssetCheckSpec(BYTES, asset=key, description="Every byte read again: the output's id is the one in dvc.lock.")]
    if "parquet" in meta.kinds:
        specs.append(dg.AssetCheckSpec(SCHEMA, asset=key, description="All Parquet shards have one and the same schema."))
        words = f"The table kept at least {meta.min_rows_kept:.0%} of the rows of the version before."
        specs.append(dg.AssetCheckSpec(ROWS, asset=key, description=words))

    @dg.multi_asset_check(name=f"{op}_checks", specs=specs, can_subset=True)
    def stage_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        now = project.again()
        for name, check in ((BYTES, _bytes_check), (SCHEMA, _schema_check)):
            if dg.AssetCheckKey(key, name) in context.selected_asset_check_keys:
                yield check(now, stage)
        if dg.AssetCheckKey(key, ROWS) in context.selected_asset_check_keys:
            yield _rows_check(now, stage, meta, context.instance)

    return stage_checks


def _bytes_check(project: Project, stage: Stage) -> dg.AssetCheckResult:
    entry = project.lock().entries.get(stage.name)
    wrong = {}
    files = size = 0
    for out in stage.outs:
        content = project.store.content(project.root / out.path, trust_stamps=False)
        files, size = (files + content.files, size + content.bytes) if content else (files, size)
        recorded = entry.outs.get(out.path) if entry else None
        if content is None or content.id != recorded:
            wrong[out.path] = {"is": (content.problem or content.id) if content else "absent", "dvc.lock says": recorded or "nothing"}
    metadata: dict[str, Any] = {"files read": files, "bytes read": size, "outputs": len(stage.outs), "wrong outputs": len(wrong)}
    if wrong:
        metadata["wrong"] = wrong
    return dg.AssetCheckResult(check_name=BYTES, asset_key=key_in(project.graph, stage.name), passed=not wrong, metadata=metadata)


def _schema_check(project: Project, stage: Stage) -> dg.AssetCheckResult:
    problems: list[str] = []
    schemas = {name: schema for out in stage.data_outs for name, schema in parquet_schemas(project.root / out.path, problems).items()}
    first = next(iter(schemas.values()), None)
    odd = [name for name, schema in schemas.items() if not schema.equals(first, check_metadata=True)]
    columns = ", ".join(f"{field.name}: {field.type}" for field in first) if first is not None else "no Parquet file"
    metadata: dict[str, Any] = {"shards": len(schemas), "columns": columns, "odd shards": odd, "unreadable": problems}
    is_one = bool(schemas) and not odd and not problems
    return dg.AssetCheckResult(check_name=SCHEMA, asset_key=key_in(project.graph, stage.name), passed=is_one, metadata=metadata)


def _rows_check(project: Project, stage: Stage, meta: StageMeta, instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    problems: list[str] = []
    rows = sum(parquet_rows(project.root / out.path, problems) or 0 for out in stage.data_outs)
    before = _rows_before(instance, key_in(project.graph, stage.name))
    passed = rows > 0 if before is None else rows >= meta.min_rows_kept * before
    metadata: dict[str, dg.MetadataValue] = {"rows": dg.MetadataValue.int(rows)}
    if problems:
        metadata["unreadable"] = dg.MetadataValue.json(problems)
    if before is not None:
        metadata["rows before"] = dg.MetadataValue.int(before)
        metadata["rows at least"] = dg.MetadataValue.int(math.ceil(meta.min_rows_kept * before))
    return dg.AssetCheckResult(check_name=ROWS, asset_key=key_in(project.graph, stage.name), passed=passed, metadata=metadata)


def _rows_before(instance: dg.DagsterInstance, key: dg.AssetKey) -> int | None:
    """The row count Dagster recorded with the newest materialization of another id than the present one."""
    records = instance.fetch_materializations(key, limit=20).records
    present: str | None = None
    for record in records:
        materialization = record.asset_materialization
        if materialization is None:
            continue
        id = (materialization.tags or {}).get("dagster/data_version")
        present = present or id
        count = materialization.metadata.get("dagster/row_count")
        if id != present and count is not None:
            return int(count.value)  # type: ignore[arg-type]
    return None
