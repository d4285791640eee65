"""What Dagster, MLflow and the bridge remember of artifacts, read without starting either; and links from a run to an artifact."""
