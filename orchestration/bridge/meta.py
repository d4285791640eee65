"""`meta.dagster` of a stage: what Dagster should know that DVC has no word for. Unknown keys are errors that name the stage and the near miss."""

import dataclasses
import difflib
import re
import zoneinfo
from collections.abc import Mapping
from typing import Any

from .graph import GraphError, Source, Stage


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Run the stage at set times, forced, because a source cannot be seen to change: a cron line and an IANA time zone."""

    cron: str
    timezone: str = "UTC"


@dataclasses.dataclass(frozen=True)
class StageMeta:
    """How a stage shows and behaves in Dagster.

    group, kinds, owners, tags, pool: as Dagster's own words; variants (`train@small`) are in a group `<group>/train`.
    automation: `on_data` (run when an input's data changed) or `manual`.
    freshness_hours: warn when the last check that the artifact is current is older. checks: names of the checks the command reports itself.
    min_rows_kept: the share of the previous version's rows below which the row count check fails.
    replaces_files: the command never writes into an existing file, so persisting outputs may stay linked to the cache.
    """

    group: str = "default"
    kinds: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pool: str | None = None
    automation: str = "manual"
    freshness_hours: float | None = None
    checks: tuple[str, ...] = ()
    min_rows_kept: float = 0.5
    replaces_files: bool = False
    schedule: Schedule | None = None


_AUTOMATIONS = ("manual", "on_data")
_EXPECTED: dict[str, tuple[type | tuple[type, ...], str]] = {
    "group": (str, "a name"),
    "kinds": (list, "a list of names"),
    "owners": (list, "a list of e-mail addresses or team:names"),
    "tags": (Mapping, "a mapping of names to text"),
    "pool": (str, "a name"),
    "automation": (str, f"one of {', '.join(_AUTOMATIONS)}"),
    "freshness_hours": ((int, float), "a number of hours"),
    "checks": (list, "a list of check names"),
    "min_rows_kept": ((int, float), "a share between 0 and 1"),
    "replaces_files": (bool, "true or false"),
    "schedule": (Mapping, "a mapping with `cron` and, if wanted, `timezone`"),
}


def stage_meta(stage: Stage | Source) -> StageMeta:
    """`meta.dagster` of the stage, or of a .dvc file, checked. Raises GraphError naming stage, key, what was found and what is expected."""
    given = stage.meta.get("dagster") or {}
    where = f"{stage.name}: meta.dagster" if isinstance(stage, Source) else f"{stage.file}: {stage.name}: meta.dagster"
    if not isinstance(given, Mapping):
        raise GraphError(f"{where} must be a mapping, found {given!r}")
    for key, value in given.items():
        if key not in _EXPECTED:
            raise GraphError(f"{where}.{key} is not a known key{_near(str(key), _EXPECTED)}; known keys: {', '.join(_EXPECTED)}")
        types, words = _EXPECTED[key]
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise GraphError(f"{where}.{key} must be {words}, found {value!r}")
    values: dict[str, Any] = {key: tuple(map(str, value)) if isinstance(value, list) else value for key, value in given.items()}
    if "tags" in values:
        values["tags"] = {str(key): str(value) for key, value in values["tags"].items()}
    if "schedule" in values:
        values["schedule"] = _schedule(values["schedule"], where)
    meta = StageMeta(**values)
    _check_words(meta, where)
    # A node of Dagster's graph shows the last part of its key only: `small` says something below the heading `train`.
    base, _, variant = stage.name.partition("@")
    return dataclasses.replace(meta, group=f"{meta.group}/{re.sub('[^A-Za-z0-9_]', '_', base)}") if variant else meta


def _schedule(given: Mapping[str, Any], where: str) -> Schedule:
    known = [field.name for field in dataclasses.fields(Schedule)]
    for key in given:
        if key not in known:
            raise GraphError(f"{where}.schedule.{key} is not a known key{_near(str(key), known)}; known keys: {', '.join(known)}")
    cron, timezone = given.get("cron"), str(given.get("timezone", "UTC"))
    if not isinstance(cron, str) or not _CRON.fullmatch(cron.strip()):
        raise GraphError(f"{where}.schedule.cron must be a cron line such as '0 3 * * *', found {cron!r}")
    try:
        zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise GraphError(f"{where}.schedule.timezone must be an IANA time zone such as 'Europe/Berlin', found {timezone!r}") from None
    return Schedule(cron, timezone)


# What Dagster takes; it would say so itself, but without naming the stage.
_NAME = re.compile(r"[A-Za-z0-9_]+")
_PATH_NAME = re.compile(r"[A-Za-z0-9_/]+")
_TAG_KEY = re.compile(r"([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}")
_TAG_VALUE = re.compile(r"[A-Za-z0-9_.-]{0,63}")
_OWNER = re.compile(r"team:\S+|[^@\s]+@[^@\s]+\.[^@\s]+")
_CRON_FIELD = r"[0-9A-Za-z*,/#?-]+"
_CRON = re.compile(rf"@[a-z]+|{_CRON_FIELD}( +{_CRON_FIELD}){{4}}")
_MOST_KINDS = 3


def _check_words(meta: StageMeta, where: str) -> None:
    if meta.automation not in _AUTOMATIONS:
        raise GraphError(
            f"{where}.automation must be one of {', '.join(_AUTOMATIONS)}, found {meta.automation!r}{_near(meta.automation, _AUTOMATIONS)}"
        )
    if not 0 <= meta.min_rows_kept <= 1:
        raise GraphError(f"{where}.min_rows_kept must be a share between 0 and 1, found {meta.min_rows_kept}")
    if meta.freshness_hours is not None and meta.freshness_hours <= 0:
        raise GraphError(f"{where}.freshness_hours must be more than 0, found {meta.freshness_hours}")
    if len(meta.kinds) > _MOST_KINDS:
        raise GraphError(f"{where}.kinds may name at most {_MOST_KINDS}, found {len(meta.kinds)}: {', '.join(meta.kinds)}")
    rules = [
        ("group", (meta.group,), _PATH_NAME, "letters, digits, _ and /"),
        ("pool", (meta.pool,) if meta.pool else (), _PATH_NAME, "letters, digits, _ and /"),
        ("checks", meta.checks, _NAME, "letters, digits and _"),
        ("kinds", meta.kinds, _TAG_VALUE, "letters, digits, _, - and ."),
        ("owners", meta.owners, _OWNER, "an e-mail address or team:name"),
        ("tags", tuple(meta.tags), _TAG_KEY, "at most 63 letters, digits, _, - and ."),
        ("tags", tuple(meta.tags.values()), _TAG_VALUE, "at most 63 letters, digits, _, - and ."),
    ]
    for key, words, pattern, expected in rules:
        for word in words:
            if not pattern.fullmatch(word):
                raise GraphError(f"{where}.{key}: {word!r} is no name Dagster takes; expected {expected}")


def _near(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
