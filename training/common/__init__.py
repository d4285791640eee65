"""What every stage shares: parameters, reporting, ids, checkpoints, the loop, tracking.

Nothing here knows a model, a dataset or an orchestrator. A helper that only one model uses belongs in that model's folder.
"""
