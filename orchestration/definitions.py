"""What Dagster loads: the definitions of the project around the present folder (or in FIGMENT_ROOT)."""

from orchestration.assembly import build_definitions
from orchestration.checkout import find_root

defs = build_definitions(find_root())
