"""Make the inputs of a campaign, in the whole environment: `python -m bench.gpu prepare`. Everything is drawn, written or computed by the project."""

import argparse
import io
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from bench.gpu.inputs import FOLDER, SPLITS, VERSION, packed

MOST_BYTES = 40 * 2**20
# Where the project's real molecules are, when they are beside the checkout.
ZINC = Path("../shared/data/molecules/zinc")
_SEED, _PROCESSES = 20_000, min(2, os.cpu_count() or 1)
_SPELLINGS, _MAXIMUM_TOKENS = 4, 80
_VOCABULARY = 8192


def prepare(folder: Path, *, pictures: int, molecules: int, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Write all files into `folder`; what is in them. molecules: real ones, and made of these where they are fewer.

    Raises SystemExit where the files come to more than 40 MiB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "about.json").unlink(missing_ok=True)
    about: dict[str, Any] = {"version": VERSION}
    say(f"drawing {pictures:,} ToC pictures, and pages, photographs and paintings")
    # Some to learn from and some to hold out, however few are asked for.
    counts = {"toc": pictures, "page": -(-pictures // 5), "photograph": max(4, pictures // 20), "painting": max(4, pictures // 20)}
    with ProcessPoolExecutor(_PROCESSES) as pool:
        drawn = {kind: list(pool.map(partial(_drawn, kind), range(count), chunksize=50)) for kind, count in counts.items()}
    numpy.savez(folder / "pictures.npz", **_merged(drawn))
    about["pictures"] = counts
    about["words"] = _words(folder / "words.npz", pictures)
    about["molecules"] = _molecules(folder / "molecules.npz", molecules, say)
    # Last: whoever finds it finds the rest.
    (folder / "about.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    size = checked_bytes(folder, pictures)
    say(f"{folder}: {size / 2**20:.1f} MiB, {about['pictures']}, {about['molecules']['counts']} molecules like {about['molecules']['source']}")
    return about


def checked_bytes(folder: Path, pictures: int) -> int:
    """Of all files. Raises SystemExit where they are more than can be taken along."""
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > MOST_BYTES:
        raise SystemExit(f"{folder}: {size / 2**20:.1f} MiB, more than {MOST_BYTES / 2**20:g} MiB; ask for fewer --pictures than {pictures:,}")
    return size


def _merged(named: Mapping[str, Sequence[bytes] | Sequence[numpy.ndarray]]) -> dict[str, Any]:
    return {key: array for name, parts in named.items() for key, array in packed(parts, name).items()}


def _drawn(kind: str, number: int) -> bytes:
    """A picture as WebP. toc: as the demo's journal draws the picture of a paper, and as `toc_dataset` pads it."""
    from assets.demo_sites import scenes
    from assets.demo_sites.drawings import draw
    from assets.demo_sites.page_layout import Leaf, print_leaf
    from assets.demo_sites.scans import Ageing, PaperSheet, aged
    from assets.demo_sites.writing import write_paper
    from formats.pad_resize import enlarged, fit_and_resize
    from formats.pictures import NO_LIMITS, decode

    name, side = f"campaign {number}", 256 if kind == "toc" else 128
    if kind == "toc":
        paper = write_paper(_SEED, number)
        body = draw(_SEED, number, label=paper.subject, scene=paper.scene, tone=paper.tone).body
        image = Image.fromarray(decode(body, limits=NO_LIMITS).pixels)
    elif kind == "page":
        sheet, of = PaperSheet(), ("text", "chapter", "text", "figure", "columns", "text")[number % 6]
        print_leaf(Leaf(of, f"Book {number // 40}", name, number % 40 + 1, "A. N. Author", 1850 + number % 70), sheet)
        image = aged(sheet, Ageing(tone=None, stains=1), name)
    else:
        image = (scenes.photograph if kind == "photograph" else scenes.painting)(name)
        image = image.crop((0, 0, min(image.size), min(image.size))).resize((side, side), Image.Resampling.LANCZOS)
    pixels = fit_and_resize(enlarged(image.convert("RGB"), side), [side], fit="pad", canvas_px=side)[side]
    target = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(target, "WEBP", quality=60, method=4)
    return target.getvalue()


def _words(path: Path, papers: int) -> dict[str, Any]:
    """Titles and abstracts of as many papers as there are pictures, the same numbers, as tokens of their own vocabulary."""
    from assets.demo_sites.writing import write_paper
    from training.metrics.text.ngram_model import CharacterNgram
    from training.words.word_tokenizers import CAUSAL, END, train_bpe

    written = [write_paper(_SEED, number) for number in range(papers)]
    texts = {"titles": [paper.title for paper in written], "abstracts": [f"{paper.title}\n{paper.abstract}" for paper in written]}
    learnt = [text for place, text in enumerate(texts["abstracts"]) if place % 10 != 9]
    tokenizer = train_bpe(learnt, _VOCABULARY, CAUSAL, template=f"{END} $A")
    encoded = {
        name: [numpy.array([*ids, tokenizer.eos_token_id], numpy.uint16) for ids in tokenizer(some)["input_ids"]] for name, some in texts.items()
    }
    characters = numpy.array([len(title) for title in texts["titles"]], numpy.int32)
    numpy.savez_compressed(path, **_merged(encoded), titles_characters=characters)
    known = [title for place, title in enumerate(texts["titles"]) if place % 10 != 9]
    bits = CharacterNgram.fit(known).bits_per_character(texts["titles"][9::10])
    ids = {"pad": tokenizer.pad_token_id, "eos": tokenizer.eos_token_id, "bos": tokenizer.bos_token_id, "vocabulary": len(tokenizer)}
    return {**ids, "papers": papers, "bits_5gram": bits, "tokens": [tokenizer.decode([token]) for token in range(len(tokenizer))]}


def _smiles() -> tuple[list[str], str]:
    """Real molecules and where they are from: the project's ZINC where it is, else what rdkit brings."""
    from rdkit import RDConfig

    files = sorted(ZINC.glob("*.smi"))
    source = "ZINC" if files else "rdkit's NCI set"
    files = files or [Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"]
    lines = (line.split()[0] for path in files for line in path.read_text(encoding="utf-8").splitlines() if line.split())
    return list(dict.fromkeys(lines)), source


def _measured(text: str) -> tuple[str, list[float]] | None:
    """Canonical SMILES and properties; None for what is no molecule."""
    from rdkit import Chem, RDLogger

    from formats.descriptors import DESCRIPTORS

    RDLogger.DisableLog("rdApp.*")
    molecule = Chem.MolFromSmiles(text)
    return None if molecule is None else (Chem.MolToSmiles(molecule), [DESCRIPTORS[name].measure(molecule) for name in _property_names()])


def _property_names() -> tuple[str, ...]:
    from formats.descriptors import POLYTAO_DESCRIPTORS

    return (*POLYTAO_DESCRIPTORS, "mol_log_p", "tpsa")


def _more_like(texts: Sequence[str], values: numpy.ndarray, number: int, pool: ProcessPoolExecutor) -> dict[str, list[float]]:
    """At most `number` new molecules by recombination of `texts`, no property beyond those that these have, `values` [N, P]."""
    from bench.gpu.recombined import recombined

    made, least, most = dict[str, list[float]](), values.min(axis=0), values.max(axis=0)
    new = recombined(texts, numpy.random.default_rng(0), pool)
    while len(made) < number and (some := list(itertools.islice(new, 5000))):
        measured = dict(filter(None, pool.map(_measured, some, chunksize=100)))
        made |= {text: row for text, row in measured.items() if (least <= row).all() and (row <= most).all()}
    return dict(itertools.islice(made.items(), max(0, number)))


def _molecules(path: Path, most: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Real molecules, a tenth each for validation and test; where they are fewer than `most`, more to learn from made of those to learn from."""
    from bench.gpu.recombined import HOW
    from formats.descriptors import DESCRIPTORS
    from formats.molecule_tables import MoleculeTable
    from training.polymers.batches import build_training_set, property_scale
    from training.polymers.smiles_tokenizer import EOS, SPECIAL_TOKENS, UNK, SmilesTokenizerConfig, readable_tokens, train_smiles_tokenizer

    texts, source = _smiles()
    say(f"reading {min(most, len(texts)):,} molecules of {source}")
    with ProcessPoolExecutor(_PROCESSES) as pool:
        read = dict(filter(None, pool.map(_measured, texts[:most], chunksize=100)))
        split, held_out = numpy.zeros(len(read), numpy.uint8), max(1, len(read) // 10)
        shuffled = numpy.random.default_rng(0).permutation(len(read))
        split[shuffled[:held_out]], split[shuffled[held_out : 2 * held_out]] = 1, 2
        learnt = [text for text, part in zip(read, split, strict=True) if part == 0]
        made = _more_like(learnt, numpy.array([read[text] for text in learnt]), most - len(read), pool)
    # One that was made may be one that is held out, which is then real and nothing else.
    made = {text: row for text, row in made.items() if text not in read}
    say(f"made {len(made):,} more of them: {HOW}")
    smiles, split = [*read, *made], numpy.concatenate([split, numpy.zeros(len(made), numpy.uint8)])
    names, values = _property_names(), numpy.array([*read.values(), *made.values()])
    table = MoleculeTable(smiles, values, names, {})
    tokenizer = train_smiles_tokenizer([*learnt, *made], SmilesTokenizerConfig(vocabulary_size=None))
    mean, std = property_scale([table])
    options: dict[str, Any] = {"maximum_tokens": _MAXIMUM_TOKENS, "mean": mean, "std": std}
    data = build_training_set([table], tokenizer, **options, spellings=_SPELLINGS, processes=_PROCESSES)
    # The set keeps the order of the table but for what it sets aside, which is told by encoding those alone.
    rows = [row for row, code in enumerate(tokenizer.encode_batch(smiles)) if UNK not in code.ids and len(code.ids) <= _MAXIMUM_TOKENS]
    assert len(rows) == len(data), f"{len(rows)} molecules were kept, the training set has {len(data)}"
    arrays: dict[str, Any] = {"tokens": data.tokens.astype(numpy.uint8), "tokens_starts": data.starts.astype(numpy.int32), "split": split[rows]}
    arrays |= {"first_spelling": data.first_spelling.astype(numpy.int32), "properties": values[rows].astype(numpy.float32)}
    numpy.savez_compressed(path, **arrays)
    counts = {name: int((arrays["split"] == number).sum()) for number, name in enumerate(SPLITS)}
    origin = {"source": source, "real": sum(row < len(read) for row in rows), "made": sum(row >= len(read) for row in rows), "made_how": HOW}
    about = {**origin, "counts": counts, "properties": names, "units": {name: DESCRIPTORS[name].unit for name in names}, "eos": EOS}
    return {**about, "maximum_tokens": _MAXIMUM_TOKENS, "special_tokens": len(SPECIAL_TOKENS), "vocabulary": readable_tokens(tokenizer)}


def main(argv: Sequence[str] | None = None) -> int:
    flags = argparse.ArgumentParser(prog="python -m bench.gpu prepare", description="Make the inputs of a campaign: at most 40 MiB.")
    flags.add_argument("--inputs", type=Path, default=FOLDER, metavar="FOLDER", help="where to (default: %(default)s)")
    flags.add_argument("--pictures", type=int, default=10_000, help="ToC pictures to draw, and papers to write (default: %(default)s)")
    flags.add_argument("--molecules", type=int, default=86_000, help="real ones, and made of these where they are fewer (default: %(default)s)")
    arguments = flags.parse_args(argv)
    prepare(arguments.inputs, pictures=arguments.pictures, molecules=arguments.molecules)
    return 0
