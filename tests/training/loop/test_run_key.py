"""What decides a training, and so the name of its checkpoints."""

import pytest

from stages.source_code import SourceTree
from training.loop.run_key import NOT_DECISIVE, run_key


def test_a_key_depends_on_stage_config_inputs_and_not_on_the_order_of_inputs():
    def key(stage="polygpt", config=None, inputs=None) -> str:
        return run_key(stage, "training.loop.ema", config=config or {"seed": 1}, inputs=inputs or {"a": "1", "b": "2"})

    assert key() == key(inputs={"b": "2", "a": "1"})
    assert len({key(), key(stage="other"), key(config={"seed": 2}), key(inputs={"a": "1", "b": "3"})}) == 4


@pytest.mark.parametrize("program", ["training.polymers.gpt.train", "training.stylegan3.train"])
def test_neither_tracking_nor_reporting_nor_sampling_is_part_of_what_a_model_learns(project_root, program):
    everything = SourceTree(project_root).closure(program)
    decisive = set(SourceTree(project_root).closure(program, but=NOT_DECISIVE))
    assert {"training/tracking/tracker.py", "stages/reporting.py", "stages/program.py"} <= set(everything) - decisive
    assert {"training/loop/loop.py", "training/loop/checkpoint.py"} <= decisive
    assert not [path for path in everything if path.endswith("/sample.py")]
