"""What stages took before: remembered, or as in the demo where the parameters are the demo's."""

from orchestration.checkout import open_project
from orchestration.runs.usual_times import DEMO_S, usual_seconds
from tests.orchestration.bridge.toy import Toy


def test_the_newest_run_of_each_stage_counts(known_toy: Toy):
    usual = usual_seconds(known_toy.project())
    assert set(usual) == {"rows", "evens", "total", "report", "side"} and all(seconds > 0 for seconds in usual.values())


def test_the_demo_has_a_time_for_each_stage_where_the_parameters_are_its_own(project_copy):
    assert set(DEMO_S) == set(open_project(project_copy).graph.stages)
    assert usual_seconds(open_project(project_copy)) == DEMO_S
    params = project_copy / "params.yaml"
    params.write_text(params.read_text().replace("  kimg: 1.5 ", "  kimg: 9.5 "))
    assert usual_seconds(open_project(project_copy)) == {name: seconds for name, seconds in DEMO_S.items() if name != "stylegan3_toc"}
