import datetime

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from orchestration.bridge.mirror import report_outside_changes
from orchestration.bridge.sensors import build_mirror_sensor, build_schedules
from tests.orchestration.bridge.toy import STAGES, Toy


def tick(toy: Toy, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return build_mirror_sensor(toy.project())(context)


def test_the_mirror_tells_what_dvc_made_and_then_rests(toy: Toy, instance: dg.DagsterInstance) -> None:
    first = tick(toy, instance)
    assert isinstance(first, dg.SensorResult) and [event.asset_key.path for event in first.asset_events] == [[name] for name in STAGES]
    for event in first.asset_events:
        instance.report_runless_asset_event(event)

    assert isinstance(tick(toy, instance, first.cursor), dg.SkipReason)
    assert toy.dagster_stale(instance) == set()


def test_an_edit_moves_the_cursor_once(toy: Toy, instance: dg.DagsterInstance) -> None:
    report_outside_changes(instance, toy.project())
    first = tick(toy, instance)
    toy.replace("params.yaml", "word: tea", "word: ale")

    second = tick(toy, instance, first.cursor)

    assert isinstance(second, dg.SensorResult) and second.cursor != first.cursor and not second.asset_events
    assert isinstance(tick(toy, instance, second.cursor), dg.SkipReason)


def test_pictures_made_anew_move_the_cursor(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.write("dvc.yaml", (toy.root / "dvc.yaml").read_text() + "plots: [data/side/side.png]\n")
    toy.replace("code/side.py", 'write("data/side/side.txt"', 'write("data/side/side.png", section("side")["word"])\nwrite("data/side/side.txt"')
    toy.make("side")
    report_outside_changes(instance, toy.project())
    before = tick(toy, instance).cursor
    # As after a return to an earlier picture: the code version alone would be the same.
    entry = (toy.root / "dvc.lock").read_text()
    toy.write("dvc.lock", entry.replace(toy.project().lock().entries["side"].outs["data/side"], "0" * 32 + ".dir"))

    assert tick(toy, instance, before).cursor != before


def test_after_dvc_repro_the_mirror_tells_only_what_ran(toy: Toy, instance: dg.DagsterInstance) -> None:
    report_outside_changes(instance, toy.project())
    cursor = tick(toy, instance).cursor
    toy.replace("params.yaml", "word: tea", "word: ale")
    toy.repro("side")

    result = tick(toy, instance, cursor)

    assert [event.asset_key.path for event in result.asset_events] == [["side"]]


@pytest.fixture
def scheduled(toy: Toy) -> Toy:
    toy.replace(
        "dvc.yaml",
        "    outs: [data/side]\n",
        '    outs: [data/side]\n    meta: {dagster: {schedule: {cron: "0 3 * * *", timezone: Europe/Berlin}}}\n',
    )
    return toy


def test_a_schedule_starts_its_stage_forced_and_skips_while_a_run_is_under_way(scheduled: Toy, instance: dg.DagsterInstance) -> None:
    (schedule,) = build_schedules(scheduled.project())
    assert (schedule.cron_schedule, schedule.execution_timezone, schedule.job_name) == ("0 3 * * *", "Europe/Berlin", "refresh_side")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.description == "Asks the source of side anew (0 3 * * *, Europe/Berlin), unless a run of it is still under way."

    def evaluate() -> object:
        time = datetime.datetime(2030, 1, 1, 3, tzinfo=datetime.UTC)
        with dg.build_schedule_context(instance=instance, scheduled_execution_time=time) as context:
            return schedule(context)

    assert isinstance(evaluate(), dg.RunRequest)
    run = create_run_for_test(instance, job_name="refresh_side", status=dg.DagsterRunStatus.STARTED)
    skipped = evaluate()
    assert isinstance(skipped, dg.SkipReason) and run.run_id in skipped.skip_message
    instance.report_run_canceled(run)
    assert isinstance(evaluate(), dg.RunRequest)


def test_the_job_of_a_schedule_reruns_a_stage_that_looks_fresh(scheduled: Toy, instance: dg.DagsterInstance) -> None:
    before = scheduled.runs("side")

    result = scheduled.definitions().resolve_job_def("refresh_side").execute_in_process(instance=instance)

    assert result.success and scheduled.runs("side") == before + 1
