"""Train the model that writes a title for a table-of-contents picture: an encoder that has seen pictures, a decoder that has read titles.

    python -m training.words.captions.train
    python -m training.words.captions.train --set start_encoder=null --set start_decoder=null            # new weights in the same shapes
    python -m training.words.captions.train --set start_encoder=microsoft/beit-base-patch16-224-pt22k    # downloads, or finds, the hub's weights

Reads data/toc_dataset@SIZE, data/paper_texts, data/title_gpt2 (decoder and tokenizer) and data/toc_encoder; writes data/toc_titler, which
`VisionEncoderDecoderModel` of transformers loads. The same command again continues where the last one was interrupted.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from formats.image_shards import ImageSetError
from formats.text_tables import TextTableError, read_paper_texts
from stages.markdown import escape, table
from stages.reporting import Reporter
from training.tracking.tracker import Field, Signature
from training.words.captions.config import ToCTitlerConfig
from training.words.captions.networks import load_decoder, load_encoder, put_together
from training.words.captions.pairs import IGNORED, TitledPictures, join
from training.words.captions.pictures import Pictures, load_processor
from training.words.captions.writing import write_titles
from training.words.examples import WordsError
from training.words.hf_job import fine_tuning_job, run_fine_tuning
from training.words.model_folder import load_tokenizer
from training.words.trainer import Task

ENCODER, DECODER = "toc_encoder", "title_gpt2"
_LOOKED_AT_ONCE = 64
_LIMITS = """
It writes a title for any picture, also for one that it cannot read, and never says so: `titler_report` tells how much of a title comes from the
picture. A title that it writes is no description for people who cannot see the picture. It has learnt the journals and languages above and no others;
pictures of more than its processor's size lose their small print.
"""


def title_loss(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Cross-entropies of each title's tokens and end, given the picture and the tokens before, and their number; padding has none."""
    labels = batch["labels"]
    shown = model.prepare_decoder_input_ids_from_labels(labels)  # type: ignore[operator]
    logits = model(pixel_values=batch["pixel_values"], decoder_input_ids=shown).logits
    losses = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return losses, (labels != IGNORED).sum()


def _inputs(folder: Path, config: ToCTitlerConfig) -> dict[str, Path]:
    """Those that decide the weights; a hub name has no content that could be known before."""
    starts = {"start_encoder": encoder_place(folder, config), "start_decoder": decoder_place(folder, config)}
    named = {(path.name if path.parent == folder else role): path for role, path in starts.items() if path.is_dir()}
    return {f"toc_dataset@{config.dataset_size}": folder / f"toc_dataset@{config.dataset_size}", "paper_texts": folder / "paper_texts", **named}


def encoder_place(folder: Path, config: ToCTitlerConfig) -> Path:
    """Where the encoder comes from, or its shape: the stage's output, a folder, or a hub name (a path that is not there)."""
    return _place(folder, config.start_encoder, ENCODER)


def decoder_place(folder: Path, config: ToCTitlerConfig) -> Path:
    """Where the decoder and its tokenizer come from, likewise."""
    return _place(folder, config.start_decoder, DECODER)


def _place(folder: Path, start: str | None, stage: str) -> Path:
    return folder / stage if start in (None, stage) else Path(str(start))


def _open(folder: Path, config: ToCTitlerConfig, reporter: Reporter) -> Task:
    dataset = folder / f"toc_dataset@{config.dataset_size}"
    decoder = load_decoder(decoder_place(folder, config), config.dropout, new=config.start_decoder is None)
    tokenizer = load_tokenizer(decoder_place(folder, config), decoder)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise WordsError(f"{decoder_place(folder, config)}: the tokenizer has no pad token of its own; tune the decoder with title_gpt2 first")
    encoder = load_encoder(encoder_place(folder, config), config.dropout, new=config.start_encoder is None)
    processor = load_processor(encoder_place(folder, config))
    max_tokens = min(config.max_tokens, int(decoder.config.n_positions))
    model = put_together(encoder, decoder, tokenizer, max_tokens)

    # Pairs whose title is too long are no pairs; of the others, those without a picture were set aside before.
    pictures = Pictures(dataset, processor)
    pairs = join(read_paper_texts(folder / "paper_texts"), pictures, str(dataset), allow_unknown_licence=config.allow_unknown_licence)
    train = TitledPictures(pairs.by_split["train"], pictures, tokenizer, max_tokens - 1, least_crop=config.least_crop)
    valid = TitledPictures(pairs.by_split["valid"], pictures, tokenizer, max_tokens - 1)
    too_long = train.too_long + valid.too_long
    reporter.log(
        f"toc_titler: {len(train):,} pairs to learn from, {len(valid):,} held out, {too_long:,} with too long a title; papers: {pairs.words}"
    )
    shown = Shown(valid if len(valid) else train, tokenizer, config)
    side = int(encoder.config.image_size)
    tokens = Field("decoder_input_ids", "int64", (-1, -1))
    return Task(
        model,
        train,
        valid,
        title_loss,
        samples=shown.table,
        measure=lambda network, loss, judged: looking(network, loss, valid, judged),
        savers=[tokenizer, processor],
        counts={**pairs.counts, "set_aside_title_too_long": too_long},
        limits=_LIMITS,
        pipeline="image-to-text",
        size=f"{encoder.config.model_type} + {decoder.config.model_type}, {side} px",
        signature=Signature((Field("pixel_values", "float32", (-1, 3, side, side)), tokens), (Field("logits", "float32", (-1, -1, len(tokenizer))),)),
    )


def looking(model: PreTrainedModel, loss: float, valid: TitledPictures, judged: Sequence[int]) -> dict[str, float]:
    """`validation_loss_with_other_pictures`, each title judged with the next one's picture, and how much worse that is: 0 for who does not look."""
    total = number = 0.0
    for start in range(0, len(judged), _LOOKED_AT_ONCE):
        batch = valid.batch(judged[start : start + _LOOKED_AT_ONCE], torch.Generator())
        other = {**batch, "pixel_values": batch["pixel_values"].roll(1, 0)}
        losses, count = title_loss(model, {name: tensor.to(model.device) for name, tensor in other.items()})
        total, number = total + float(losses), number + float(count)
    return {"validation_loss_with_other_pictures": total / number, "validation_gain_of_looking": total / number - loss}


class Shown:
    """Titles that are written for some pictures, beside their real ones, at every evaluation."""

    def __init__(self, pairs: TitledPictures, tokenizer: Any, config: ToCTitlerConfig) -> None:
        self.pairs, self.tokenizer = pairs, tokenizer
        self.places = range(min(config.shown_pairs, len(pairs)))

    def table(self, model: PreTrainedModel) -> dict[str, str]:
        names = [self.pairs.papers[place].image_sha256 or "" for place in self.places]
        written = write_titles(model, self.tokenizer, self.pairs.pictures, names)
        rows = [[escape(self.pairs.papers[place].title), escape(title)] for place, title in zip(self.places, written, strict=True)]
        return {"titles.md": table(["real title", "written"], rows)}


JOB = fine_tuning_job("toc_titler", "training.words.captions.train", ToCTitlerConfig, _inputs, _open)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_titler`; see training/words/hf_job.py for what it does and stages/program.py for flags and exit codes."""
    return run_fine_tuning(JOB, __doc__, argv, expected=(ImageSetError, TextTableError))


if __name__ == "__main__":
    sys.exit(main())
