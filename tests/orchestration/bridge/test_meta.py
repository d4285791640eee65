from typing import Any

import pytest

from orchestration.bridge.graph import GraphError, Stage
from orchestration.bridge.meta import Schedule, StageMeta, stage_meta


def meta_of(given: Any) -> StageMeta:
    return stage_meta(Stage("toc_images", ("make",), (), (), (), meta={"dagster": given}))


def test_a_stage_without_meta_is_manual_and_in_the_default_group() -> None:
    assert stage_meta(Stage("a", ("make",), (), (), ())) == StageMeta()
    assert StageMeta().automation == "manual"


def test_every_key_is_read() -> None:
    meta = meta_of(
        {
            "group": "papers",
            "kinds": ["parquet"],
            "owners": ["team:papers"],
            "tags": {"tier": 1},
            "pool": "gpu",
            "automation": "on_data",
            "freshness_hours": 24,
            "checks": ["licences_known"],
            "min_rows_kept": 0.9,
            "replaces_files": True,
            "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Berlin"},
        }
    )

    assert meta == StageMeta(
        "papers",
        ("parquet",),
        ("team:papers",),
        {"tier": "1"},
        "gpu",
        "on_data",
        24,
        ("licences_known",),
        0.9,
        True,
        Schedule("0 3 * * *", "Europe/Berlin"),
    )


def test_keys_of_others_beside_dagster_are_theirs() -> None:
    assert stage_meta(Stage("a", ("make",), (), (), (), meta={"anything": 1})) == StageMeta()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"grup": "x"}, ["meta.dagster.grup is not a known key (did you mean 'group'?)", "known keys"]),
        ({"automation": "on-data"}, ["automation must be one of manual, on_data, found 'on-data' (did you mean 'on_data'?)"]),
        ({"kinds": "parquet"}, ["kinds must be a list of names, found 'parquet'"]),
        ({"freshness_hours": "a day"}, ["freshness_hours must be a number of hours, found 'a day'"]),
        ({"freshness_hours": True}, ["freshness_hours must be a number"]),
        ({"freshness_hours": 0}, ["freshness_hours", "0"]),
        ({"min_rows_kept": 2}, ["min_rows_kept must be a share between 0 and 1, found 2"]),
        ({"checks": ["no dashes-please"]}, ["'no dashes-please' is no name Dagster takes"]),
        ({"checks": ["a/b"]}, ["'a/b' is no name Dagster takes"]),
        ({"kinds": ["a b"]}, ["kinds", "'a b'"]),
        ({"owners": ["nobody"]}, ["owners", "'nobody'"]),
        ({"tags": {"a": "x" * 64}}, ["tags", "a"]),
        ({"tags": {"a": "with spaces"}}, ["tags", "with spaces"]),
        ({"schedule": {"corn": "0 3 * * *"}}, ["schedule.corn is not a known key (did you mean 'cron'?)"]),
        ({"schedule": {"timezone": "UTC"}}, ["schedule.cron must be a cron line", "found None"]),
        ({"schedule": {"cron": "every night"}}, ["schedule.cron", "every night"]),
        ({"schedule": {"cron": "0 3 * * *", "timezone": "Mars/North"}}, ["schedule.timezone", "Mars/North"]),
        ("papers", ["meta.dagster must be a mapping, found 'papers'"]),
        (["papers"], ["meta.dagster must be a mapping"]),
    ],
)
def test_what_cannot_be_used_is_an_error_that_names_stage_key_and_what_is_expected(given: Any, words: list[str]) -> None:
    with pytest.raises(GraphError) as raised:
        meta_of(given)

    assert "dvc.yaml: toc_images" in str(raised.value)
    assert [word for word in words if word not in str(raised.value)] == [], str(raised.value)
