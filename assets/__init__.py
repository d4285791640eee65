"""How each dataset comes to be: fetch, parse, build. Plain Python, one folder a subject.

Nothing here imports dagster, dvc, mlflow or `orchestration`; a stage's contract is files, arguments and exit status.
"""
