"""The only place that knows Dagster and DVC: the bridge, the launchers, the `figment` command line.

Reads dvc.yaml, params.yaml and dvc.lock; runs `python -m assets.…` and `python -m training.…`. Imported by nobody.
"""
