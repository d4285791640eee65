"""What is on record of artifacts, read and compared: by the code versions here, by git, Dagster, DVC and MLflow.

What belongs here: questions about what was made when, from what and by whom. What does not: what changes any of it.
"""
