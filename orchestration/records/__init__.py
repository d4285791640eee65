"""What Dagster, MLflow, the bridge and git remember of artifacts and of the code that made them, read without starting any; and links from a run to
an artifact.
"""
