"""Moving the records of Dagster and MLflow from the SQLite files below `.figment/` into a lab's stores, with nothing lost."""
