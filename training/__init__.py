"""Plain torch code that trains, samples and measures models; runs on a bare machine without dagster, dvc or an MLflow server.

One folder a model, `common/` for what all share, `metrics/` for measures that know no model. Nothing here imports `assets` or `orchestration`.
"""
