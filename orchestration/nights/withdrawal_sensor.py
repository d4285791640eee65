"""What Dagster does when papers or books are withdrawn: the models made from them are tagged, without anybody asking."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from orchestration.checkout import open_project


def build_withdrawal_sensor(root: Path, lists: Sequence[str], *, seconds: int = 60) -> dg.SensorDefinition:
    """Tags models whenever one of `lists`, stages that say what was withdrawn, has another id; an MLflow that is away is asked again later."""
    words = "Tags the models made from papers or books that were withdrawn, and takes the title of champion from them."

    @dg.sensor(name="withdrawn_items", description=words, minimum_interval_seconds=seconds, default_status=dg.DefaultSensorStatus.RUNNING)
    def withdrawn_items(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Tags the models made from papers or books that were withdrawn, and takes the title of champion from them."""
        from orchestration.nights.retractions import flag_withdrawn
        from orchestration.records.mlflow_runs import MlflowUnreachableError

        # The cursor is what the lists' ids are: with the same bytes nobody has been withdrawn.
        project = open_project(root)
        entries = project.lock().entries
        ids = " ".join(entries[name].output_id(project.graph[name]) or "" for name in lists if name in entries).strip()
        if not ids or ids == context.cursor:
            return dg.SkipReason("no list of withdrawn items has changed")
        try:
            flagged = flag_withdrawn(project)
        except MlflowUnreachableError as error:
            return dg.SkipReason(f"models could not be looked at: {error}")
        context.update_cursor(ids)
        for line in flagged.lines():
            context.log.warning(line)
        return dg.SkipReason(f"{len(flagged.all)} model versions tagged")

    return withdrawn_items
