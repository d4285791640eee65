"""When stages run by themselves: on changed data, on a schedule, or never."""

import datetime

import dagster as dg

from .meta import StageMeta


def automation_condition(meta: StageMeta) -> dg.AutomationCondition | None:
    """`on_data`: once an input's data version changed, all inputs exist and nothing of it is under way.

    A rerun with equal bytes does not fire, and neither does an edit of the stage's own code or parameters: its author decides when to run it.

    `manual`: None, Dagster never starts it.
    """
    if meta.automation != "on_data":
        return None
    condition = dg.AutomationCondition
    changed = condition.any_deps_match(condition.data_version_changed()) | condition.missing().newly_true()
    return (
        changed.since(condition.newly_requested() | condition.newly_updated())
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label("on_data")


def freshness_policy(meta: StageMeta) -> dg.FreshnessPolicy | None:
    """Warn when the artifact was not confirmed current for `freshness_hours`."""
    if meta.freshness_hours is None:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=datetime.timedelta(hours=meta.freshness_hours))
