"""The way from one molecule to another through the latent of a trained PolyVAE, drawn as a strip and written as a table.

    python -m training.polymers.vae.interpolate --model data/polyvae CCO CCCCN --steps 8 --out strip.png     # and strip.csv
    python -m training.polymers.vae.interpolate --model data/polyvae CCO CCCCN --path lerp                    # the table alone, printed

Both ends are the means of their posteriors, in the light of what RDKit finds in them; properties on the way lie between those of the ends. Each step
is written greedily. `slerp` keeps to lengths that N(0, I) has in many dimensions; `lerp` cuts the corner.
"""

import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rdkit import Chem, rdBase
from tokenizers import Tokenizer
from torch import Tensor

from formats.descriptors import DESCRIPTORS
from stages.program import program
from stages.reporting import Reporter
from training.polymers.conditions import MoleculeModelError
from training.polymers.drawings import draw_strip
from training.polymers.obedience import obedience
from training.polymers.sample_table import Request, SampledMolecule
from training.polymers.smiles_tokenizer import EOS, UNK, SmilesTokenizerError, readable_tokens
from training.polymers.vae.model_folder import load_polyvae
from training.polymers.vae.networks import PolyVAE
from training.polymers.vae.writer import write_from


def way(
    model: PolyVAE, tokenizer: Tokenizer, ends: tuple[str, str], *, steps: int, spherical: bool = True
) -> tuple[list[Request], list[SampledMolecule]]:
    """What was asked for and what was written at each of `steps` places between two SMILES, both ends included. Raises MoleculeModelError."""
    read = [_read(model, tokenizer, smiles) for smiles in ends]
    asked = [model.shape.standardise(request) for _, request in read]
    device = model.token_embedding.weight.device
    with torch.no_grad():
        one, other = (
            model.posterior(ids.to(device), values.to(device)[None], mask.to(device)[None])[0][0]
            for (ids, _), (values, mask) in zip(read, asked, strict=True)
        )
    places = [step / (steps - 1) for step in range(steps)]
    latents = torch.stack([slerp(one, other, place) if spherical else torch.lerp(one, other, place) for place in places])
    requests: list[Request] = [{name: (1 - place) * value + place * read[1][1][name] for name, value in read[0][1].items()} for place in places]
    values, mask = (torch.stack(column) for column in zip(*map(model.shape.standardise, requests), strict=True))
    molecules = []
    for ids in write_from(model, tokenizer, latents, values, mask).tolist():
        ended = EOS in ids
        molecules.append(SampledMolecule(tokenizer.decode(ids[: ids.index(EOS)] if ended else ids, skip_special_tokens=True), ended))
    return requests, molecules


def slerp(one: Tensor, other: Tensor, place: float) -> Tensor:
    """The point at `place` in [0, 1] of the great arc from `one` to `other` [L]; of the straight line where they are parallel. Shoemake 1985."""
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=0).clamp(-1, 1)
    angle = float(cosine.acos())
    if math.sin(angle) < 1e-4:
        return torch.lerp(one, other, place)
    return (math.sin((1 - place) * angle) * one + math.sin(place * angle) * other) / math.sin(angle)


def draw_way(molecules: Sequence[SampledMolecule], properties: Sequence[str], path: Path) -> None:
    """The strip: below each molecule what RDKit finds of `properties` in it, or that there is none."""
    with rdBase.BlockLogs():
        read = [Chem.MolFromSmiles(one.smiles) if one.smiles else None for one in molecules]
    shown = [name for name in properties if name in DESCRIPTORS]
    captions = ["not valid" if one is None else ", ".join(f"{DESCRIPTORS[name].measure(one):.3g}" for name in shown) for one in read]
    draw_strip(read, captions, path)


def _read(model: PolyVAE, tokenizer: Tokenizer, smiles: str) -> tuple[Tensor, Mapping[str, float]]:
    """Token ids [1, T] of a molecule, and those of the model's properties that RDKit computes."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        raise MoleculeModelError(f"'{smiles}' is not a SMILES that RDKit can read; check its brackets, ring closures and valences")
    canonical = Chem.MolToSmiles(molecule)
    ids = tokenizer.encode(canonical).ids
    if UNK in ids:
        known = " ".join(readable_tokens(tokenizer)[UNK + 1 :])
        raise MoleculeModelError(f"'{canonical}' has an atom or bond outside the model's vocabulary; it knows {known}")
    if len(ids) > model.shape.maximum_tokens:
        raise MoleculeModelError(f"'{canonical}' has {len(ids)} tokens, the model reads at most {model.shape.maximum_tokens}; choose a smaller one")
    return torch.tensor([ids]), {name: DESCRIPTORS[name].measure(molecule) for name in model.shape.properties if name in DESCRIPTORS}


def _run(arguments: Namespace, reporter: Reporter) -> None:
    model, tokenizer = load_polyvae(arguments.model)
    requests, molecules = way(model, tokenizer, tuple(arguments.ends), steps=arguments.steps, spherical=arguments.path == "slerp")
    table, (valid, *_) = obedience(requests, molecules)
    reporter.log(valid)
    if arguments.out is None:
        print(table, end="")
        return
    draw_way(molecules, model.shape.properties, arguments.out)
    arguments.out.with_suffix(".csv").write_text(table, encoding="utf-8")


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("ends", nargs=2, metavar="SMILES", help="the two molecules")
    parser.add_argument("--model", type=Path, default=Path("data/polyvae"), metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--steps", type=_steps, default=8, metavar="N", help="molecules of the strip, both ends included (default: %(default)s)")
    parser.add_argument("--path", choices=("slerp", "lerp"), default="slerp", help="along a sphere or straight (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="draw the strip to this PNG, and write the table (CSV) beside it")


def _steps(text: str) -> int:
    if int(text) < 2:
        raise ValueError(f"{text} is not at least 2")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    return program(__doc__, _run, argv, expected=(MoleculeModelError, SmilesTokenizerError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
