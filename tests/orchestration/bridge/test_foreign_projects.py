"""Projects nobody here wrote, in small: the bridge loads them, says what `dvc status` says, and makes what `dvc repro` makes."""

from pathlib import Path

import dagster as dg
import pytest

from orchestration.bridge.mirror import report_outside_changes
from tests.orchestration.bridge.foreign_projects import PROJECTS
from tests.orchestration.bridge.toy import Toy, copy_of

pytestmark = pytest.mark.slow


def of_dvc(toy: Toy) -> set[str]:
    """The stages that DVC calls changed, by the bridge's names."""
    names = {stage.address: name for name, stage in toy.project().graph.stages.items()}
    changed = {address for address in toy.dvc_stale() if not address.endswith(".dvc")}
    assert changed <= names.keys()
    return {names[address] for address in changed}


def answers(toy: Toy, instance: dg.DagsterInstance) -> dict[str, set[str]]:
    report_outside_changes(instance, toy.project())
    return {"bridge": toy.stale(), "Dagster": toy.dagster_stale(instance), "DVC": of_dvc(toy)}


def contents(toy: Toy) -> dict[str, str | None]:
    """The id of every output that is there."""
    project = toy.project()
    found = {
        out.path: project.store.content(toy.root / out.path, trust_stamps=False) for stage in project.graph.stages.values() for out in stage.outs
    }
    return {path: content.id if content else None for path, content in found.items()}


@pytest.mark.parametrize("name", PROJECTS)
def test_bridge_dvc_and_dagster_agree_before_and_after_each_edit_and_make_the_same(name: str, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    foreign = PROJECTS[name]
    ours = foreign.build(tmp_path / "here" / name)
    theirs = copy_of(Toy(ours.root.parent), tmp_path / "there")
    theirs = Toy(theirs.root / name)
    everything = set(ours.project().graph.stages)
    assert ours.stale() == of_dvc(ours) == everything

    ours.make_all()
    theirs.repro(all_pipelines=True)

    assert contents(ours) == contents(theirs) and None not in contents(ours).values()
    for toy in (ours, theirs):
        foreign.before_edits(toy)
    for edit, act in {"nothing": lambda toy: None, **foreign.edits}.items():
        for toy in (ours, theirs):
            act(toy)
        found = answers(ours, instance)
        assert found == dict.fromkeys(found, found["DVC"]), edit

        ours.make_all()
        theirs.repro(all_pipelines=True)

        assert contents(ours) == contents(theirs), edit
        found = answers(ours, instance)
        assert found == {key: set() for key in found}, edit
        # A .dvc file is the business of `dvc add`, and of `dvc repro`, which takes edited data for added.
        assert {address for address in ours.repro(all_pipelines=True, dry=True) if not address.endswith(".dvc")} == set(), edit
        assert theirs.stale() == of_dvc(theirs) == set(), edit


def test_what_dvc_2_recorded_becomes_a_record_of_dvc_3_when_the_stage_is_made_again(tmp_path: Path) -> None:
    foreign = PROJECTS["dvc_2"]
    toy = foreign.build(tmp_path / "toy")
    toy.make_all()
    foreign.before_edits(toy)
    old = {name: entry.of_dvc_2 for name, entry in toy.project().lock().entries.items()}
    assert {name: bool(paths) for name, paths in old.items()} == {"prepare": True, "train": True, "evaluate": True}

    assert toy.make("prepare", force=True).how == "ran"

    assert {name: entry.of_dvc_2 for name, entry in toy.project().lock().entries.items()} == {**old, "prepare": frozenset()}
    assert toy.stale() == of_dvc(toy)
    toy.make_all()
    assert toy.stale() == of_dvc(toy) == set()


def test_what_lies_in_a_folder_has_a_key_after_it_and_sources_are_external(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    toy = PROJECTS["monorepo"].build(tmp_path / "git" / "project")
    graph = toy.definitions().resolve_asset_graph()

    assert {key.to_user_string() for key in graph.materializable_asset_keys} == {"all", "shop/orders", "shop/models/all"}
    assert {key.to_user_string() for key in graph.external_asset_keys} == {"shared/words.txt.dvc"}
    assert {key.to_user_string() for key in graph.get(dg.AssetKey(["shop", "models", "all"])).parent_keys} == {"shop/orders", "shared/words.txt.dvc"}
    assert graph.get(dg.AssetKey(["shop", "models", "all"])).group_name == "shop"

    assert toy.dagster_make(instance, *toy.project().graph.stages).success

    assert toy.dagster_stale(instance) == of_dvc(toy) == set()
    told = instance.get_latest_materialization_event(dg.AssetKey(["shared", "words.txt.dvc"])).asset_materialization
    assert told.tags["dagster/data_version"] == toy.project().graph.sources["shared/words.txt.dvc"].id
