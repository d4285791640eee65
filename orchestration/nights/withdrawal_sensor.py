"""What Dagster does when papers are withdrawn: the models made from them are tagged, without anybody asking."""

from pathlib import Path

import dagster as dg

from orchestration.checkout import open_project


def build_withdrawal_sensor(root: Path, *, seconds: int = 60) -> dg.SensorDefinition:
    """Looks at the list of withdrawn papers whenever `papers` has another id, and tags models; an MLflow that is away is asked again later."""
    words = "Tags the models made from papers that were withdrawn, and takes the title of champion from them."

    @dg.sensor(name="withdrawn_papers", description=words, minimum_interval_seconds=seconds, default_status=dg.DefaultSensorStatus.RUNNING)
    def withdrawn_papers(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Tags the models made from papers that were withdrawn, and takes the title of champion from them."""
        from orchestration.nights.retractions import flag_withdrawn
        from orchestration.records.mlflow_runs import MlflowUnreachableError

        # The cursor is the id of `papers`: with the same bytes nobody has been withdrawn.
        project = open_project(root)
        entry = project.lock().entries.get("papers")
        id = entry.output_id(project.graph["papers"]) if entry else None
        if not id or id == context.cursor:
            return dg.SkipReason("data/papers has not changed")
        try:
            flagged = flag_withdrawn(project)
        except MlflowUnreachableError as error:
            return dg.SkipReason(f"models could not be looked at: {error}")
        context.update_cursor(id)
        for line in flagged.lines():
            context.log.warning(line)
        return dg.SkipReason(f"{len(flagged.all)} model versions tagged")

    return withdrawn_papers
