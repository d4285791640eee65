"""Make imaginary papers: python -m training.words.imaginary.compose

    python -m training.words.imaginary.compose --set count=4      # a few

A picture that stylegan3_toc drew gets a title from toc_titler, and the title an abstract from abstract_t5. What is nearly real, empty, stuck, rude or
personal is dropped and counted. Every text is one line that is safe to show (safety.py): who shows it has only to escape it.
"""

import hashlib
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import AutoModelForSeq2SeqLM, VisionEncoderDecoderModel

from formats.image_shards import ImageSetError, ImageShards, member_name, write_shard
from formats.tables import read_table, table_from_rows, write_table
from formats.text_tables import PaperText, TextTableError, read_paper_texts
from stages.derived_seed import derive_seed
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.fine_tuning.examples import TuningError
from training.fine_tuning.generation import Generation, GenerationError, generate, tokenize
from training.fine_tuning.model_folder import load_model, load_processor, load_tokenizer
from training.loop.bounds import at_least, within
from training.loop.devices import open_devices
from training.words.imaginary.filters import Why, blocked_word, degenerate, personal_data, read_blocked_words
from training.words.imaginary.neighbours import CopiedRun, NearestTitle, nearest_pictures, small_grey
from training.words.imaginary.safety import UnfitTextError, make_safe
from training.words.imaginary.tables import PAPERS, REJECTED, ImaginaryError, Lineage, broken_links, trace

STAGE = "imaginary_papers"
_PICTURES_PER_SHARD = 1000


@dataclass(frozen=True)
class ImaginaryPapersConfig:
    """The section `imaginary_papers`.

    dataset_size: px, that of stylegan3_toc. count: papers wanted. most_tries: titles written for them at most. psi: one of toc_fakes' truncations.
    title, abstract: how they are written. …_characters: [least, most]. least_variety: of a text's words, the fraction that must differ.
    most_similarity: to a real title, from which one is nearly that (neighbours.py). copied_words: a run of so many from a real text is a copy.
    least_picture_levels: to a training picture. least_contrast_levels: standard deviation. Both of 255, at 16 x 16 px, grey.
    blocked_words_file: more words that no text may hold, one a line.
    """

    dataset_size: int = 256
    count: int = 1000
    most_tries: int = 10_000
    psi: float = 0.8
    seed: int = 0
    batch_size: int = 16
    title: Generation = field(default_factory=Generation)
    abstract: Generation = field(default_factory=Generation)
    title_characters: tuple[int, ...] = (20, 250)
    abstract_characters: tuple[int, ...] = (150, 3000)
    least_variety: float = 0.35
    most_similarity: float = 0.9
    copied_words: int = 12
    least_picture_levels: float = 6.0
    least_contrast_levels: float = 4.0
    blocked_words_file: str | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "count", "most_tries", "batch_size", "copied_words")
        at_least(self, 0, "psi", "least_picture_levels", "least_contrast_levels")
        within(self, 0, 1, "least_variety", "most_similarity")
        for name in ("title_characters", "abstract_characters"):
            if len(bounds := getattr(self, name)) != 2 or not 1 <= bounds[0] <= bounds[1]:
                raise ValueError(f"{name} must be [least, most] from 1 on, found {list(bounds)}")


class Pictures:
    """The fakes of one truncation. rows: of all, as papers name them. good: those that are neither blank nor nearly training pictures."""

    def __init__(self, fakes: Path, dataset: Path, config: ImaginaryPapersConfig) -> None:
        index = read_table(fakes / "index.parquet").to_pylist()
        found = [row for row in index if row["psi"] == config.psi]
        if not found:
            raise ImaginaryError(
                f"{fakes}: no picture has psi {config.psi:g}; set psi to one that some have: {sorted({row['psi'] for row in index})}"
            )
        self.shards = ImageShards(fakes / found[0]["shard"].partition("/")[0])
        reals = read_table(dataset / "index.parquet", ["sha256"]).column("sha256").to_pylist()
        small = small_grey(self.shards)
        places, levels = nearest_pictures(small, small_grey(ImageShards(dataset)))
        self.rows: list[dict[str, Any]] = []
        for row, place, away, contrast in zip(found, places, levels, small.std(axis=1) * 16, strict=True):
            one = {"psi": config.psi, "picture_seed": row["seed"], "nearest_picture_sha256": reals[place], "nearest_picture_levels": float(away)}
            why = ("picture: blank", f"{contrast:.1f} levels") if contrast < config.least_contrast_levels else None
            if why is None and away < config.least_picture_levels:
                why = "picture: nearly a real one", f"{reals[place]}, {away:.1f} levels"
            self.rows.append(one | _rejection(why))
        self.good = [place for place, row in enumerate(self.rows) if "reason" not in row]


class Judge:
    """Makes texts safe, and says why one is not good enough."""

    def __init__(self, papers: Sequence[PaperText], config: ImaginaryPapersConfig) -> None:
        self._config, self._papers, self._given = config, papers, set[str]()
        self._words = read_blocked_words(config.blocked_words_file)
        self._nearest = NearestTitle([paper.title for paper in papers])
        self._copied = CopiedRun((text for paper in papers for text in (paper.title, paper.abstract or "")), config.copied_words)

    def title(self, text: str) -> dict[str, Any]:
        """Columns: the title, the real one that is nearest, and why it is rejected, if it is."""
        title, why = self._safe(text, self._config.title_characters)
        place, similarity = self._nearest(title)
        # A real title is foreign text as well.
        real = self._safe(self._papers[place].title, (0, len(self._papers[place].title)))[0]
        why = why or (("nearly a real one", real) if similarity >= self._config.most_similarity else None)
        row = {"title": title, "nearest_title": real, "nearest_id": self._papers[place].id, "nearest_similarity": similarity}
        return row | _rejection(why, "title: ")

    def abstract(self, text: str, title: str) -> dict[str, Any]:
        """Columns: the abstract, and why it is rejected. No two papers have the same title."""
        abstract, why = self._safe(text, self._config.abstract_characters)
        if why is None and title.casefold() in self._given:
            why = "of a title given before", title
        self._given |= set() if why else {title.casefold()}
        return {"abstract": abstract} | _rejection(why, "abstract: ")

    def _safe(self, text: str, bounds: Sequence[int]) -> tuple[str, Why]:
        try:
            text = make_safe(text)
        except UnfitTextError as error:
            return ascii(text[: bounds[1]]), ("mixed scripts", str(error))
        why = degenerate(text, least=bounds[0], most=bounds[1], least_variety=self._config.least_variety)
        return text[: bounds[1]], why or personal_data(text) or blocked_word(text, self._words) or self._copied(text)


class Titler:
    """Titles for pictures, uint8 [C, H, W] with C = 1 or 3 and any size. The text for picture i is number first + i of `seed`."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model, self._tokenizer = load_model(folder, VisionEncoderDecoderModel).to(device), load_tokenizer(folder)
        self._processor = load_processor(folder)

    def __call__(self, pictures: Sequence[numpy.ndarray], settings: Generation, *, seed: int, first: int) -> list[str]:
        colours = [numpy.repeat(picture, 3 // len(picture), axis=0).transpose(1, 2, 0) for picture in pictures]
        inputs = {"pixel_values": self._processor(images=colours, return_tensors="pt")["pixel_values"]}
        return [texts[0] for texts in generate(self._model, self._tokenizer, inputs, settings, seed=seed, first=first)]


class Abstracter:
    """Abstracts for titles, likewise."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._model = load_model(folder, AutoModelForSeq2SeqLM).to(device)
        self._tokenizer = load_tokenizer(folder, self._model)

    def __call__(self, titles: Sequence[str], settings: Generation, *, seed: int, first: int) -> list[str]:
        config = self._model.config
        shown = [(getattr(config, "prefix", None) or "") + title for title in titles]
        prompts = tokenize(self._tokenizer, shown, most_tokens=getattr(config, "source_tokens", 128))
        return [texts[0] for texts in generate(self._model, self._tokenizer, prompts.inputs, settings, seed=seed, first=first)]


def candidates(pictures: Pictures, titler: Titler, abstracter: Abstracter, judge: Judge, config: ImaginaryPapersConfig) -> Iterator[dict[str, Any]]:
    """Rows of papers and of rejected ones (with a `reason`), one a try. A picture is in one paper at most. batch_size decides no text."""
    seeds = {name: derive_seed(config.seed, name) % 2**31 for name in ("title", "abstract")}
    tries, abstracts, left = 0, 0, pictures.good
    while left := left[: config.most_tries - tries]:
        unused: list[int] = []
        for start in range(0, len(left), config.batch_size):
            places = left[start : start + config.batch_size]
            texts = titler([pictures.shards.image(place) for place in places], config.title, seed=seeds["title"], first=tries)
            rows = [pictures.rows[place] | {"place": place} | judge.title(text) for place, text in zip(places, texts, strict=True)]
            for number, row in enumerate(rows, tries):
                row |= {"title_seed": seeds["title"], "title_number": number}
            # Only what has a title gets an abstract.
            fit = [row for row in rows if "reason" not in row]
            texts = abstracter([row["title"] for row in fit], config.abstract, seed=seeds["abstract"], first=abstracts) if fit else []
            for number, (row, text) in enumerate(zip(fit, texts, strict=True), abstracts):
                row |= {"abstract_seed": seeds["abstract"], "abstract_number": number, **judge.abstract(text, row["title"])}
            tries, abstracts = tries + len(rows), abstracts + len(fit)
            unused += [row["place"] for row in rows if "reason" in row]
            yield from rows
        # Without chance a picture would get the same texts again.
        left = unused if "sample" in (config.title.strategy, config.abstract.strategy) else []


def _rejection(why: Why, what: str = "") -> dict[str, str]:
    return {} if why is None else {"reason": what + why[0], "found": why[1]}


def _write(output: OutputFolder, papers: Sequence[dict[str, Any]], pictures: Pictures) -> None:
    for start in range(0, len(papers), _PICTURES_PER_SHARD):
        shard, part = f"pictures-{start // _PICTURES_PER_SHARD:05d}.zip", papers[start : start + _PICTURES_PER_SHARD]
        pngs = [pictures.shards.png(paper["place"])[1] for paper in part]
        for number, (paper, png) in enumerate(zip(part, pngs, strict=True), start + 1):
            digest = hashlib.sha256(b"\0".join([paper["title"].encode(), paper["abstract"].encode(), png])).hexdigest()
            paper |= {"id": digest[:16], "number": number, "shard": shard, "member": member_name(number)}
        write_shard(output.file(shard), enumerate(pngs, start + 1))
    write_table(output.file("papers.parquet"), table_from_rows(PAPERS, papers))


def _check(papers: Sequence[dict[str, Any]], lineage: Lineage, config: ImaginaryPapersConfig, reporter: Reporter) -> None:
    reporter.check("enough_papers", len(papers) == config.count, severity="WARN", papers=len(papers), wanted=config.count)
    similarity = max((paper["nearest_similarity"] for paper in papers), default=0.0)
    levels = min((paper["nearest_picture_levels"] for paper in papers), default=255.0)
    is_new = similarity < config.most_similarity and levels >= config.least_picture_levels
    reporter.check("nothing_copied", is_new, highest_title_similarity=similarity, nearest_picture_levels=levels)
    broken = broken_links(lineage)
    reporter.check("lineage_unbroken", not broken, severity="WARN", broken=len(broken), first=broken[0] if broken else "")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config, data = load_params(arguments.params, STAGE, ImaginaryPapersConfig, overrides=arguments.overrides), arguments.data
    dataset = f"toc_dataset@{config.dataset_size}"
    lineage = trace(data, dataset)
    if not (texts := read_paper_texts(data / "paper_texts")):
        raise ImaginaryError(f"{data / 'paper_texts'}: no paper in it, so nothing real to compare with; add a source to journal_pages")
    pictures, judge = Pictures(data / "toc_fakes", data / dataset, config), Judge(texts, config)
    papers: list[dict[str, Any]] = []
    rejected = [row for row in pictures.rows if "reason" in row]
    with open_devices() as devices:
        titler, abstracter = Titler(data / "toc_titler", devices.device), Abstracter(data / "abstract_t5", devices.device)
        for row in candidates(pictures, titler, abstracter, judge, config):
            (rejected if "reason" in row else papers).append(row)
            if len(papers) == config.count:
                break
    reasons = Counter(row["reason"] for row in rejected).most_common()
    with OutputFolder(data / STAGE) as output:
        _write(output, papers, pictures)
        write_table(output.file("rejected.parquet"), table_from_rows(REJECTED, rejected))
        output.write_json("lineage.json", lineage)
    reporter.metadata(papers=len(papers), rejected=len(rejected), reasons=dict(reasons))
    reporter.log(f"{STAGE}: {len(papers):,} papers, {len(rejected):,} rejected")
    _check(papers, lineage, config, reporter)
    if len(papers) < config.count:
        reporter.notice(f"{STAGE}: only {len(papers):,} of {config.count:,} papers after all tries; dropped most often: {dict(reasons[:3])}")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(ImaginaryError, ImageSetError, TextTableError, TuningError, GenerationError))


if __name__ == "__main__":
    sys.exit(main())
