"""What MLflow keeps in SQLite, as PostgreSQL has it: the same tables and rows. Artifacts have addresses that hold for both."""

from functools import partial
from pathlib import Path

import sqlalchemy as sa

from orchestration.moving.tables import Source, refuse_unknown, rows_of

_OWN = ("alembic_version",)


def tables() -> list[sa.Table]:
    """All of MLflow's tables, those that others refer to first."""
    from mlflow.store.db.base_sql_model import Base

    # Each puts its tables among Base's; the list is that of MLflow's own migrations.
    from mlflow.store.model_registry.dbmodels import models as _registry  # noqa: F401
    from mlflow.store.tracking.dbmodels import models as _tracking  # noqa: F401
    from mlflow.store.workspace.dbmodels import models as _workspace  # noqa: F401

    return list(Base.metadata.sorted_tables)


def sources(connection: sa.Connection, path: Path) -> list[Source]:
    """Every table in an order that respects foreign keys. Raises MoveError for rows that would be left behind."""
    known = tables()
    refuse_unknown(connection, {table.name: table for table in known}, path, but=_OWN)
    there = set(sa.inspect(connection).get_table_names())

    return [Source(table, partial(rows_of, connection, table)) for table in known if table.name in there]


def make_tables(url: str) -> None:
    """MLflow's tables in a new database, as MLflow makes them."""
    import logging

    from mlflow.store.db.utils import _safe_initialize_tables, create_sqlalchemy_engine

    for talker in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(talker).setLevel(logging.WARNING)
    engine = create_sqlalchemy_engine(url)
    _safe_initialize_tables(engine)
    engine.dispose()
