"""Which artifacts one materialization takes on: decided from the graph and the statuses alone."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from orchestration.bridge.graph import Graph
from orchestration.bridge.status import StageStatus


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run is to look at, in topological order.

    due: what is not fresh, or forced. following: what is made from something due, and is remade only if those bytes change.
    """

    due: tuple[str, ...]
    following: tuple[str, ...]
    forced: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything the run selects."""
        return (*self.due, *self.following)


def plan_everything(graph: Graph, statuses: Mapping[str, StageStatus], *, force: bool, only_stale: bool) -> Plan:
    """All that is due in the project, and all that is made from it. force: make again what is due (only_stale), or everything."""
    due = _not_fresh(statuses, graph.stages)
    forced = (due if only_stale else set(graph.stages)) if force else set()
    return _plan(graph, due | forced, set(graph.stages), forced)


def plan_names(graph: Graph, statuses: Mapping[str, StageStatus], names: Collection[str], *, force: bool, with_upstream: bool) -> Plan:
    """The named artifacts with whatever above them is not fresh. force: make the named ones again, and with_upstream all above them too."""
    # Above the named ones only what is not fresh is made; beside and below them nothing.
    above = ancestors(graph, names)
    reach = above | set(names)
    forced = (reach if with_upstream else set(names)) if force else set()
    return _plan(graph, _not_fresh(statuses, reach) | forced, reach, forced)


def ancestors(graph: Graph, names: Iterable[str]) -> set[str]:
    """Everything the named artifacts are made from, themselves not included unless one is made from another."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        new = [before for before in graph.upstream(pending.pop()) if before not in found]
        found.update(new)
        pending += new
    return found


def _plan(graph: Graph, due: set[str], reach: set[str], forced: set[str]) -> Plan:
    following = (graph.downstream(due) & reach) - due
    return Plan(tuple(name for name in graph.stages if name in due), tuple(name for name in graph.stages if name in following), frozenset(forced))


def _not_fresh(statuses: Mapping[str, StageStatus], names: Iterable[str]) -> set[str]:
    return {name for name in names if statuses[name].state != "fresh"}
