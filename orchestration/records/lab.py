"""A lab's stores as a profile of stores.yaml names them: whether they can be had, and reading from their databases."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from typing import Any

from stages.stores import Profile

_CONNECT_S = "5"
_LIBRARIES = ("dagster_postgres", "psycopg2", "boto3")


class LabError(Exception):
    """A store of the profile cannot be had; one line that says which, why and what to do."""


def check_profile(profile: Profile) -> None:
    """Raises LabError for the first thing that is missing: a library, a database, the bucket, or the keys to one of them."""
    for name in ("dagster", "mlflow"):
        reach_database(getattr(profile, name), name)
    s3_client(profile)


def reach_database(url: str, name: str) -> None:
    """Raises LabError when the database of `name` in the profile does not let us in."""
    with reading(url, name):
        pass


@contextlib.contextmanager
def reading(url: str, name: str) -> Iterator["_Database"]:
    """The database of `name` in the profile, for reading. Raises LabError."""
    require_libraries()
    import psycopg2

    try:
        connection = psycopg2.connect(url, connect_timeout=os.environ.get("PGCONNECT_TIMEOUT", _CONNECT_S))
    except psycopg2.OperationalError as error:
        raise LabError(f"stores.yaml: {name}: {url} cannot be reached: {_first_line(error)}{_hint(error, url)}") from error
    try:
        with contextlib.closing(connection):
            connection.set_session(readonly=True, autocommit=True)
            yield _Database(connection)
    except psycopg2.Error as error:
        raise LabError(f"stores.yaml: {name}: {url}: {_first_line(error)}") from error


class _Database:
    """`execute` as sqlite3's connections have it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(statement.replace("?", "%s"), tuple(values))
        return cursor


def s3_client(profile: Profile) -> Any:
    """A client of S3 that has seen the profile's bucket. Raises LabError."""
    require_libraries()
    import boto3
    import botocore.config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    config = botocore.config.Config(connect_timeout=float(_CONNECT_S), retries={"max_attempts": 2})
    where = f"stores.yaml: artifacts: bucket {profile.bucket} at {profile.s3_endpoint or os.environ.get('AWS_ENDPOINT_URL') or 'Amazon S3'}"
    try:
        client = boto3.session.Session().client("s3", endpoint_url=profile.s3_endpoint, config=config)
        client.head_bucket(Bucket=profile.bucket)
        return client
    except NoCredentialsError as error:
        raise LabError(f"{where}: no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with a file ~/.aws/credentials") from error
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        reason = {403: "the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are refused", 404: "there is no such bucket; make it first"}
        raise LabError(f"{where}: {reason.get(status, _first_line(error))}") from error
    except (BotoCoreError, ValueError) as error:
        raise LabError(f"{where} cannot be used: {_first_line(error)}") from error


def require_libraries() -> None:
    """Raises LabError where the extra `lab` is not installed."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        needed = "pip install -c constraints.txt -e '.[lab]' brings it; or set `use: local` in stores.yaml"
        raise LabError(f"stores.yaml asks for a lab's stores, and {', '.join(missing)} is not installed; {needed}")


def _hint(error: Exception, url: str) -> str:
    """The variables that libpq would have taken, where one seems to be missing."""
    text = str(error)
    if "no password supplied" in text:
        return "; set PGPASSWORD, or write ~/.pgpass"
    if "password authentication failed" in text:
        return "; the password in PGPASSWORD or ~/.pgpass is another, or PGUSER"
    if "does not exist" in text:
        return f"; make it first: createdb {url.rpartition('/')[2]}"
    unset = [name for name in ("PGHOST", "PGUSER") if not os.environ.get(name)]
    return f"; not set, and not in the URL: {', '.join(unset)}" if unset and "@" not in url else "; start it, or correct the URL"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
