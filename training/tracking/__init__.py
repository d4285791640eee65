"""What a training tells of itself: a local journal first, and from there MLflow, which may be away.

The only place of `training` that imports mlflow, inside functions.
"""
