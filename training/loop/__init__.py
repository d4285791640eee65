"""The loop that every training runs in, and what keeps its state: checkpoints, seeds, devices, moving averages, the collapse guard.

What knows a model belongs in the model's folder; what knows MLflow belongs in `training/tracking`.
"""
