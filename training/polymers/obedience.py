"""Requested values beside those of the molecules that came of it, as a table and in words: for samples made by hand, of any model of molecules."""

import csv
import io
from collections.abc import Sequence

import numpy

from formats.descriptors import DESCRIPTORS
from training.metrics.molecules import read_generated
from training.metrics.regression import property_control
from training.polymers.sample_table import Request, SampledMolecule
from training.polymers.scoring import obtained_values


def obedience(requests: Sequence[Request], molecules: Sequence[SampledMolecule]) -> tuple[str, list[str]]:
    """CSV of SMILES, validity, requested and obtained values, a row each; and lines on how well they agree. requests: at least one, all of the
    same properties.

    Obtained values are RDKit's; an invalid molecule has none, nor has a property that RDKit cannot compute. A polymer, with its `*`, is valid too.
    """
    reading = read_generated([molecule.smiles for molecule in molecules])
    obtained = {name: obtained_values(reading, name) if name in DESCRIPTORS else numpy.full(len(molecules), numpy.nan) for name in requests[0]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["smiles", "valid", *(f"{what}_{name}" for name in obtained for what in ("requested", "obtained"))])
    for row, (request, molecule) in enumerate(zip(requests, molecules, strict=True)):
        values = [cell for name, found in obtained.items() for cell in (_cell(request[name]), _cell(found[row]))]
        writer.writerow([molecule.smiles, str(reading.canonical[row] is not None).lower(), *values])
    lines = [f"{len(reading.valid):,} of {len(molecules):,} molecules are valid"]
    return text.getvalue(), lines + [_agreement(name, requests, found) for name, found in obtained.items()]


def _cell(value: float) -> str:
    return "" if numpy.isnan(value) else f"{value:.6g}"


def _agreement(name: str, requests: Sequence[Request], obtained: numpy.ndarray) -> str:
    if name not in DESCRIPTORS:
        return f"{name}: RDKit cannot compute it, so what was obtained is not known"
    control = property_control(name, numpy.array([request[name] for request in requests]), obtained, rounds=0, seed=0)
    if not control.coverage.successes:
        return f"{name}: nothing was obtained"
    # One value asked for again and again has no variance to explain.
    has_variance = numpy.isfinite(control.r2.value)
    r2 = f"R² {control.r2.value:.3f} (requests dealt out at random: {control.shuffled_r2:.3f}), " if has_variance else ""
    return f"{name}: {r2}mean absolute error {control.mae.value:.3g}, {control.success.successes:,} of {control.success.trials:,} within 10 %"
