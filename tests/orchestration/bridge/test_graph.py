from pathlib import Path

import pytest

from orchestration.bridge.graph import GraphError, Out, Stage, build_graph


def stage(name: str, deps: list[str], outs: list[str]) -> Stage:
    return Stage(name, (f"make {name}",), tuple(deps), (), tuple(Out(out) for out in outs))


def graph_of(*stages: Stage):
    return build_graph(Path("/project"), stages)


def test_stages_come_in_topological_order_and_else_in_that_of_the_file() -> None:
    graph = graph_of(stage("c", ["b_out"], ["c_out"]), stage("z", [], ["z_out"]), stage("b", ["a_out"], ["b_out"]), stage("a", [], ["a_out"]))

    assert list(graph.stages) == ["a", "b", "c", "z"]


def test_a_dependency_inside_an_output_and_one_around_it_are_edges() -> None:
    graph = graph_of(
        stage("whole", [], ["data/whole"]), stage("inside", ["data/whole/part/x.txt"], ["data/other/x"]), stage("around", ["data/other"], ["r"])
    )

    assert graph.upstream("inside") == ("whole",)
    assert graph.upstream("around") == ("inside",)
    assert graph.artifact_deps("inside") == {"data/whole/part/x.txt": "whole"}


def test_names_that_merely_begin_alike_are_no_edges() -> None:
    graph = graph_of(stage("a", [], ["data/rows"]), stage("b", ["data/rows2", "data/row"], ["out"]))

    assert graph.upstream("b") == ()


def test_downstream_is_everything_made_from_a_stage() -> None:
    graph = graph_of(stage("a", [], ["a_out"]), stage("b", ["a_out"], ["b_out"]), stage("c", ["b_out"], ["c_out"]), stage("d", [], ["d_out"]))

    assert graph.downstream(["a"]) == {"a", "b", "c"}
    assert graph.downstream(["d"]) == {"d"}


def test_a_circle_is_an_error_that_names_it() -> None:
    with pytest.raises(GraphError, match="circle: a -> c -> b -> a|circle: a -> b -> c -> a"):
        graph_of(stage("a", ["c_out"], ["a_out"]), stage("b", ["a_out"], ["b_out"]), stage("c", ["b_out"], ["c_out"]))


def test_an_unknown_stage_is_an_error_with_the_near_miss() -> None:
    with pytest.raises(GraphError, match="no stage 'molecule'.*did you mean 'molecules'"):
        graph_of(stage("molecules", [], ["m"]))["molecule"]


def test_two_dependencies_on_one_stage_are_one_edge() -> None:
    graph = graph_of(stage("a", [], ["x", "y"]), stage("b", ["x", "y"], ["z"]))

    assert graph.upstream("b") == ("a",)


def test_a_metric_that_git_keeps_is_no_part_of_the_artifact_unless_it_is_all_there_is() -> None:
    data, metric = Out("data"), Out("metric.json", "metric", cached=False)

    assert Stage("a", (), (), (), (data, metric)).data_outs == (data,)
    assert Stage("b", (), (), (), (metric,)).data_outs == (metric,)


def test_a_chain_may_be_longer_than_pythons_stack() -> None:
    chain = [stage(f"s{number}", [f"data/{number - 1}"] if number else [], [f"data/{number}"]) for number in range(3000)]

    graph = graph_of(*reversed(chain))

    assert list(graph.stages) == [made.name for made in chain]
    assert graph.producers_of("data") == tuple(graph.stages)
    assert (graph.producers_of("data/7/x"), graph.producers_of("dat")) == (("s7",), ())
