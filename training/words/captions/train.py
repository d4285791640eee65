"""Train the model that writes a title for a table-of-contents picture: an encoder that has seen pictures, a decoder that has read titles.

    python -m training.words.captions.train --set start_encoder=null --set start_decoder=null            # new weights in the same shapes
    python -m training.words.captions.train --set start_encoder=microsoft/beit-base-patch16-224-pt22k    # downloads, or finds, the hub's weights

Reads data/toc_dataset@SIZE, data/paper_texts, data/title_gpt2 (decoder and tokenizer) and data/toc_encoder; writes data/toc_titler, which
`VisionEncoderDecoderModel` of transformers loads. The same command again continues where the last one was interrupted.
"""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from formats.image_shards import ImageSetError
from formats.text_tables import TextTableError
from stages.markdown import escape, table
from stages.reporting import Reporter
from training.fine_tuning.examples import NO_LABEL, TuningError
from training.fine_tuning.hf_job import fine_tuning_job, run_fine_tuning
from training.fine_tuning.model_flops import titler_flops
from training.fine_tuning.model_folder import load_processor, load_tokenizer
from training.fine_tuning.options import FineTuning
from training.fine_tuning.token_losses import summed_cross_entropy
from training.fine_tuning.trainer import Task
from training.loop.bounds import at_least
from training.words.captions.networks import load_decoder, load_encoder, put_together
from training.words.captions.pairs import TitledPictures, read_pairs, write_titles

_LIMITS = """
It writes a title for any picture, also for one that it cannot read, and never says so: `titler_report` tells how much of a title comes from the
picture. A title that it writes is no description for people who cannot see the picture. It has learnt the journals and languages above and no others.
"""


@dataclass(frozen=True)
class ToCTitlerConfig(FineTuning):
    """The section `toc_titler` of params.yaml; samples are pairs of a picture and a title.

    start_encoder, start_decoder: a stage of this project (`toc_encoder`, `title_gpt2`), a hub name or a folder; None = new weights in the shape of
    the stage's. max_tokens: of a title with its beginning and its end.
    """

    dataset_size: int = 128
    start_encoder: str | None = "toc_encoder"
    start_decoder: str | None = "title_gpt2"
    max_tokens: int = 64
    shown_pairs: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "dataset_size", "shown_pairs")
        at_least(self, 3, "max_tokens")
        if self.start_from is not None:
            raise ValueError(f"start_from is '{self.start_from}', but this model is put together from two; set start_encoder and start_decoder")

    @property
    def what(self) -> str:
        return "pairs"


def title_loss(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Cross-entropies of each title's tokens and end, given the picture and the tokens before, and their number; padding has none.

    A GPT-2 never has the logits of all tokens at once.
    """
    labels, decoder = batch["labels"], model.decoder
    shown, number = model.prepare_decoder_input_ids_from_labels(labels), (labels != NO_LABEL).sum()
    # Where other families change hidden states before their head is theirs to know.
    if not _is_gpt2(decoder):
        logits = model(pixel_values=batch["pixel_values"], decoder_input_ids=shown).logits
        return cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=NO_LABEL, reduction="sum"), number
    seen = model.encoder(pixel_values=batch["pixel_values"])[0]
    if hasattr(model, "enc_to_dec_proj"):
        seen = model.enc_to_dec_proj(seen)
    hidden = decoder.base_model(input_ids=shown, encoder_hidden_states=seen, use_cache=False)[0]
    return summed_cross_entropy(hidden, decoder.get_output_embeddings().weight, labels), number


def _is_gpt2(decoder: PreTrainedModel) -> bool:
    return bool(decoder.config.model_type == "gpt2")


def _inputs(folder: Path, config: ToCTitlerConfig) -> dict[str, Path]:
    """Those that decide the weights; a hub name has no content that could be known before."""
    starts = {
        "start_encoder": _place(folder, config.start_encoder, "toc_encoder"),
        "start_decoder": _place(folder, config.start_decoder, "title_gpt2"),
    }
    named = {(path.name if path.parent == folder else role): path for role, path in starts.items() if path.is_dir()}
    return {**{name: folder / name for name in (f"toc_dataset@{config.dataset_size}", "paper_texts")}, **named}


def _place(folder: Path, start: str | None, stage: str) -> Path:
    """The stage's output, a folder, or a hub name (a path that is not there)."""
    return folder / stage if start in (None, stage) else Path(str(start))


def _open(folder: Path, config: ToCTitlerConfig, reporter: Reporter) -> Task:
    seen, read = _place(folder, config.start_encoder, "toc_encoder"), _place(folder, config.start_decoder, "title_gpt2")
    decoder = load_decoder(read, config.dropout, new=config.start_decoder is None)
    tokenizer = load_tokenizer(read, decoder)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise TuningError(f"{read}: the tokenizer has no pad token of its own; tune the decoder with title_gpt2 first")
    max_tokens = min(config.max_tokens, int(decoder.config.n_positions))
    model = put_together(load_encoder(seen, config.dropout, new=config.start_encoder is None), decoder, tokenizer, max_tokens)

    # Pairs whose title is too long are no pairs; of the others, those without a picture are set aside before.
    pairs = read_pairs(folder, config.dataset_size, load_processor(seen))
    train, valid = (TitledPictures(pairs.by_split[split], pairs.pictures, tokenizer, max_tokens - 1) for split in ("train", "valid"))
    too_long = train.too_long + valid.too_long
    flops = titler_flops(model, train.batch([0], torch.Generator())["pixel_values"], train.lengths()) if len(train) and _is_gpt2(decoder) else None
    reporter.log(f"toc_titler: {len(train):,} pairs to learn from, {len(valid):,} held out, {too_long:,} too long; papers: {pairs}")
    return Task(
        model,
        train,
        valid,
        title_loss,
        samples=functools.partial(_samples, valid if len(valid) else train, tokenizer, config.shown_pairs),
        measure=functools.partial(looking, valid),
        savers=[tokenizer, pairs.pictures.processor],
        counts={**pairs.set_aside, "set_aside_title_too_long": too_long},
        limits=_LIMITS,
        pipeline="image-to-text",
        size=f"{model.config.encoder.model_type} + {decoder.config.model_type}",
        epoch_flops=flops,
    )


def looking(valid: TitledPictures, model: PreTrainedModel, loss: float, judged: Sequence[int]) -> dict[str, float]:
    """`validation_loss_with_other_pictures`, each title judged with its neighbour's picture, and how much worse that is: 0 for who does not look."""
    batch = valid.batch(judged, torch.Generator())
    batch["pixel_values"] = batch["pixel_values"].roll(1, 0)
    losses, number = title_loss(model, {name: tensor.to(model.device) for name, tensor in batch.items()})
    return {"validation_loss_with_other_pictures": float(losses / number), "validation_gain_of_looking": float(losses / number) - loss}


def _samples(pairs: TitledPictures, tokenizer: Any, most: int, model: PreTrainedModel) -> dict[str, str]:
    """Titles that are written for some pictures, beside their real ones."""
    papers = pairs.papers[:most]
    written = write_titles(model, tokenizer, pairs.pictures, [paper.image_sha256 or "" for paper in papers])
    return {
        "titles.md": table(["real title", "written"], [[escape(paper.title), escape(title)] for paper, title in zip(papers, written, strict=True)])
    }


JOB = fine_tuning_job("toc_titler", "training.words.captions.train", ToCTitlerConfig, _inputs, _open)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_titler`; see training/fine_tuning/hf_job.py for what it does and stages/program.py for flags and exit codes."""
    return run_fine_tuning(JOB, __doc__, argv, expected=(ImageSetError, TextTableError))


if __name__ == "__main__":
    sys.exit(main())
