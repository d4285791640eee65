"""stores.yaml: where the records of Dagster and MLflow are kept. Nothing in it is part of an artifact's identity, and no secret stands in it.

Without the file, or with the profile `local`, they are kept in SQLite files below `.figment/`.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stages.near_misses import did_you_mean
from stages.params import ParamsError, build_config, read_yaml

STORES_FILE = "stores.yaml"
PROFILE_VARIABLE = "FIGMENT_PROFILE"
LOCAL = "local"


@dataclass(frozen=True)
class Profile:
    """Shared stores.

    dagster, mlflow: a PostgreSQL database each, as `postgresql://USER@HOST:PORT/NAME`; what is left out, and the password, libpq takes from
    PGHOST, PGPORT, PGUSER, PGPASSWORD and ~/.pgpass. artifacts: where MLflow's server keeps files, `s3://BUCKET/PREFIX`, with keys
    from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws. s3_endpoint: of an S3 that is not Amazon's. mlflow_server: by which address
    everyone reaches MLflow's server.
    """

    dagster: str
    mlflow: str
    artifacts: str
    s3_endpoint: str | None = None
    mlflow_server: str = "http://127.0.0.1:5000"

    def __post_init__(self) -> None:
        for name in ("dagster", "mlflow"):
            url = urlsplit(getattr(self, name))
            if url.scheme != "postgresql" or not url.path.strip("/"):
                raise ValueError(f"{name} must be like postgresql://USER@HOST:PORT/NAME, found {_without_password(getattr(self, name))!r}")
            if url.password is not None:
                raise ValueError(f"{name} holds a password; take it out, and give it as PGPASSWORD or in ~/.pgpass")
        if self.dagster == self.mlflow:
            raise ValueError("dagster and mlflow need a database each, found the same one twice; both keep a table `alembic_version`")
        if not re.match(r"s3://[^/]+", self.artifacts):
            raise ValueError(f"artifacts must be like s3://BUCKET/PREFIX, found {self.artifacts!r}")
        for name in ("s3_endpoint", "mlflow_server"):
            address = getattr(self, name)
            if address is not None and (not re.match(r"https?://[^/]", address) or urlsplit(address).password):
                raise ValueError(f"{name} must be like https://HOST:PORT, without a password; found {_without_password(address)!r}")

    @property
    def bucket(self) -> str:
        return urlsplit(self.artifacts).netloc

    @property
    def prefix(self) -> str:
        """What the names of all artifacts begin with in the bucket: "" or a path that ends in a slash."""
        path = urlsplit(self.artifacts).path.strip("/")
        return f"{path}/" if path else ""

    @property
    def is_served_here(self) -> bool:
        """Whether `mlflow_server` is an address of this machine's own."""
        return urlsplit(self.mlflow_server).hostname in ("127.0.0.1", "localhost", "::1")

    @property
    def environment(self) -> dict[str, str]:
        """What programs that use S3 need beside the keys."""
        return {"AWS_ENDPOINT_URL_S3": self.s3_endpoint} if self.s3_endpoint else {}


def with_driver(url: str) -> str:
    """The URL of a database for SQLAlchemy, whose own choice of a driver differs between its releases."""
    return "postgresql+psycopg2" + url.removeprefix("postgresql")


def chosen_profile(root: Path) -> Profile | None:
    """The profile that FIGMENT_PROFILE names, or else `use` of the project's stores.yaml; None for `local`. Raises ParamsError."""
    named, path = os.environ.get(PROFILE_VARIABLE), root / STORES_FILE
    if not path.exists():
        if named in (None, "", LOCAL):
            return None
        raise ParamsError(f"{PROFILE_VARIABLE} is '{named}', and there is no {path} that says what it is; write it (docs/lab.md) or unset it")
    outline = build_config(_Outline, read_yaml(path) or {}, where=STORES_FILE)
    name = named or outline.use
    profiles = {each: build_config(Profile, values, where=f"{STORES_FILE}: profiles.{each}") for each, values in outline.profiles.items()}
    if name == LOCAL:
        return None
    if name not in profiles:
        source = PROFILE_VARIABLE if named else f"{STORES_FILE}: use"
        raise ParamsError(f"{source} is '{name}', which is no profile{did_you_mean(name, profiles)}; profiles: {', '.join([LOCAL, *profiles])}")
    return profiles[name]


@dataclass(frozen=True)
class _Outline:
    use: str = LOCAL
    profiles: dict[str, Any] = field(default_factory=dict)


def _without_password(url: str) -> str:
    return re.sub(r"(?<=://)([^@/:]*):[^@]*@", r"\1:…@", url)
