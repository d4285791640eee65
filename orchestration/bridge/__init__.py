"""Dagster assets from any dvc.yaml. Nothing here knows a project's own stages, and nothing here imports the project's packages."""
