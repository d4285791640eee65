"""Plain torch code that trains, samples and measures models; runs on a bare machine without dagster, dvc or an MLflow server.

One folder a model; `loop/`, `tracking/` and `gans/` for what models share, `metrics/` for measures that know no model. Nothing here imports
`assets` or `orchestration`.
"""
