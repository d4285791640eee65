"""What every training stage is made of: the job, the loop, and what keeps its state: checkpoints, seeds, devices, averages, the collapse guard.

What knows a model belongs in the model's folder; what knows MLflow belongs in `training/tracking`.
"""
