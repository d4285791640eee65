"""How stages and sources look in Dagster. What is derived from DVC's records, dependencies and versions, is nobody's choice and is added here."""

import base64
import contextlib
import re
from collections.abc import Mapping

import dagster as dg

from .automation import automation_condition, freshness_policy
from .facts import pictures_of
from .graph import Graph, Source, Stage, shown_command
from .meta import stage_meta
from .mirror import key_in
from .preludes import prepared
from .project import Project
from .status import project_status
from .versions import current_code_version

# Of the pictures in one description: every page that lists assets loads it.
_MOST_PICTURE_BYTES = 120_000


class DagsterDvcTranslator:
    """Override `get_asset_spec`, and change what `super().get_asset_spec(…)` returns: `spec.replace_attributes(key=…, group_name=…)`.

    Whatever is chosen for `deps` and `code_version` is replaced: those say what DVC recorded.
    """

    def get_asset_spec(self, project: Project, stage: Stage | Source) -> dg.AssetSpec:
        """The asset of a stage, or the external asset of a .dvc file, by its `desc` and `meta.dagster`. Raises GraphError where that is wrong."""
        meta, key = stage_meta(stage), key_in(project.graph, stage.name)
        if isinstance(stage, Source):
            words = stage.desc or (f"Imported from {stage.origin}" if stage.origin else f"Data added to DVC by hand: {', '.join(stage.ids)}")
            about = {"outputs": list(stage.ids), **({"from": stage.origin} if stage.origin else {})}
        else:
            words = asset_description(project, stage)
            about = {"command": shown_command(stage.cmd), "outputs": [out.path for out in stage.outs]}
        return dg.AssetSpec(
            key,
            description=words,
            group_name=meta.group,
            kinds=set(meta.kinds) or {"dvc"},
            owners=list(meta.owners),
            tags=dict(meta.tags),
            automation_condition=None if isinstance(stage, Source) else automation_condition(meta),
            freshness_policy=freshness_policy(meta),
            metadata=about,
        )


def translate(project: Project, translator: DagsterDvcTranslator | None = None) -> tuple[Project, dict[str, dg.AssetSpec]]:
    """The project with the translator's asset keys, and the whole specification of every artifact and source, with code versions of this moment.

    Raises GraphError when a stage's `meta.dagster` cannot be used, or two assets were given one key.
    """
    translator = translator or DagsterDvcTranslator()
    project = prepared(project)
    graph = project.graph
    shown: dict[str, Stage | Source] = {**graph.sources, **graph.stages}
    specs = {name: translator.get_asset_spec(project, stage) for name, stage in shown.items()}
    project = project.with_keys({name: tuple(spec.key.path) for name, spec in specs.items()})
    graph, lock, statuses = project.graph, project.lock(), project_status(project)
    versions = {name: current_code_version(project, lock, status) for name, status in statuses.items()}
    for name, spec in specs.items():
        read = [*graph.parents(name), *graph.sources_of(name)] if name in graph.stages else []
        deps = [key_in(graph, before) for before in read]
        specs[name] = spec.replace_attributes(key=key_in(graph, name), deps=deps, code_version=versions.get(name))
    return project, specs


def op_names(graph: Graph) -> Mapping[str, str]:
    """For each stage a name as Dagster allows it for ops and jobs, made of its asset key; no two have the same."""
    found: dict[str, str] = {}
    for name in graph.stages:
        key = op_name("_".join(graph.key(name)))
        # `a-b` and `a_b` are two stages.
        found[key if key not in found else f"{key}_{len(found)}"] = name
    return {name: key for key, name in found.items()}


def op_name(stage: str) -> str:
    """A stage name as Dagster allows it for ops and jobs, where no other stage has nearly the same."""
    return re.sub(r"[^A-Za-z0-9_]", "_", stage)


def asset_description(project: Project, stage: Stage) -> str:
    """What the stage is, and below it the pictures that dvc.yaml lists under `plots` and the stage has made, as far as they are small.

    Dagster shows the description without a click, but any longer Markdown of a materialization behind one.
    """
    words = stage.desc or shown_command(stage.cmd)
    pictures = []
    left = _MOST_PICTURE_BYTES
    for path in pictures_of(project, stage):
        picture = project.root / path
        # An output that is being replaced is not there for a moment. A grid of snapshots may be as large as 8K: its size is asked for first.
        with contextlib.suppress(OSError):
            if (size := picture.stat().st_size) <= left:
                content = base64.b64encode(picture.read_bytes()).decode("ascii")
                pictures.append(f"![{escaped(picture.stem)}](data:image/png;base64,{content})")
                left -= size
    return "\n\n".join([words, *pictures])


def escaped(text: str) -> str:
    """Text from files and people, made safe to stand in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)
