"""Facts about outputs that need no word from the stage."""

import json

from orchestration.bridge.facts import output_facts
from tests.orchestration.bridge.toy import Toy


def test_numbers_of_a_metric_file_are_facts_without_their_bounds_and_denominators(toy: Toy) -> None:
    path = toy.root / "data/total.json"
    path.unlink()
    path.write_text(
        json.dumps({"validity": 0.5, "validity_low": 0.4, "validity_high": 0.6, "validity_n": 10, "rows_n": 3, "is_good": True, "name": "x"})
    )
    project = toy.project()

    assert output_facts(project, project.graph["total"]) == {"validity": 0.5, "rows_n": 3}
