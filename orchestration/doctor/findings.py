"""What an examination finds: one disagreement, in words, with its remedy and, where it is safe, the repair itself."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

from orchestration.bridge.dvc_repo import DvcBusy


class CannotMendError(Exception):
    """A repair was tried and is not safe, or not possible; nothing was changed."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """kind: for programs; subject: what is ill; detail: what is wrong with it; remedy: what the user can do.

    mend: does what is safe and says what it did; None where a person has to decide. Raises CannotMendError.
    """

    kind: str
    subject: str
    detail: str
    remedy: str
    mend: Callable[[], str] | None = dataclasses.field(default=None, compare=False, repr=False)


@contextlib.contextmanager
def dvc_trouble_told() -> Iterator[None]:
    """DVC's own errors as CannotMendError: one repair that DVC refuses must not stop the others."""
    try:
        yield
    except DvcBusy as error:
        raise CannotMendError(str(error)) from error
    except Exception as error:  # DVC's own errors have no base class in common; all others are raised again
        if type(error).__module__.partition(".")[0] not in ("dvc", "dvc_data", "dvc_objects"):
            raise
        raise CannotMendError(f"DVC: {' '.join(str(error).split())}") from error
