"""The part about words: a GPT-2 of 124 M parameters learns titles and abstracts, as fast as it can."""

import math
from typing import Any

import torch

from bench.gpu.device import Meter
from bench.gpu.learning import learn
from bench.gpu.recording import REPORTER, Sizes, Work


def titles(work: Work) -> None:
    """Tokens a second and the share of the device's bfloat16 peak that they are; then bits a character of titles held out."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from training.fine_tuning.generation import Generation, write
    from training.fine_tuning.model_flops import causal_flops
    from training.fine_tuning.packing import attention_scores, causal_loss, choose_attention, pack
    from training.fine_tuning.trainer import FineTuner, Task
    from training.loop.seeding import seed_everything
    from training.words.titles.config import TitleOptions
    from training.words.titles.data import Titles

    about = work.inputs.about["words"]
    row_tokens, kinds = 64 if work.tiny else 1024, ("abstracts", "titles")
    train, valid = (
        Titles([], [ids[:row_tokens] for kind in kinds for ids in work.inputs.documents(kind, split)], about["pad"], row_tokens)
        for split in ("train", "valid")
    )
    # The published sizes, whatever the vocabulary of the inputs leaves unused, so that the speed is that of GPT-2.
    sizes = work.sizes({"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": about["vocabulary"]}, {"vocab_size": 50_257})
    ids = {"bos_token_id": about["bos"], "eos_token_id": about["eos"], "pad_token_id": about["pad"]}
    seed_everything(0)
    model = GPT2LMHeadModel(GPT2Config(n_positions=row_tokens, **sizes, **ids, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    flops = causal_flops(model, train.lengths())
    task = Task(model, train, valid, causal_loss, buckets=False, epoch_flops=flops, attention=choose_attention)

    def budget(total: int) -> Sizes:
        return {"total_samples": total, "warmup_samples": total // 20}

    # About 32 full rows.
    batch = 4 if work.tiny else max(8, 32 * row_tokens * len(train) // sum(train.lengths()))
    rates: Sizes = {"learning_rate": 6e-4, "weight_decay": 0.1, "adam_beta2": 0.95, "dropout": 0.0, "evaluate_at_most": 8 if work.tiny else 512}
    options = TitleOptions(**budget(2_000_000_000), **rates, batch_size=batch, maximum_tokens=row_tokens)
    tuner = FineTuner(task, options, work.devices, REPORTER)
    told = learn(work, tuner, budget, until=0.15 * work.left())
    # Of a head and layer: how many fewer scores than over whole rows of the first batch.
    few, many = attention_scores(train.batch(range(min(batch, len(train))), torch.Generator())["documents"])
    shape: Sizes = {"parameters": sum(parameter.numel() for parameter in tuner.parameters), "documents": len(train), "row_tokens": row_tokens}
    shape["attention_scores_share"] = few / many
    work.row("learnt", model="GPT-2", **shape, batch=batch, not_compiled=tuner.loss.reason, **told)

    # Titles alone, their ends predicted like a character, as the 5-gram predicts them.
    judged, held_out = tuner.judged_model(), work.inputs.documents("titles", "valid")
    with torch.no_grad(), work.devices.autocast("auto"):
        parts = [pack(held_out[start : start + 256], 0, about["pad"]) for start in range(0, len(held_out), 256)]
        nats = sum(float(causal_loss(judged, {name: one.to(work.device) for name, one in part.items()})[0]) for part in parts)
    bits: Sizes = {"bits_per_character": nats / math.log(2) / work.inputs.held_out_characters(), "bits_per_character_5gram": about["bits_5gram"]}
    work.row("judged", model="GPT-2", **tuner.evaluate(judged), judged=len(tuner.judged), titles=len(held_out), **bits)

    start = {"input_ids": torch.full((16, 1), about["bos"]), "attention_mask": torch.ones(16, 1, dtype=torch.long)}
    settings = Generation(strategy="sample", top_p=0.9, max_new_tokens=16 if work.tiny else 200)
    with Meter(work.device) as meter:
        written = [text for (text,) in write(judged, _Spelling(about), start, settings, seed=0)]
    work.keep("samples", "titles.txt", "\n\n".join(text.text for text in written) + "\n")
    work.row("written", model="GPT-2", texts=len(written), tokens=sum(text.tokens for text in written), seconds=meter.seconds)


class _Spelling:
    """What writing asks of a tokenizer."""

    def __init__(self, about: Sizes) -> None:
        self.pad_token_id, self.eos_token_id, self.bos_token_id = about["pad"], about["eos"], about["bos"]
        self._tokens = dict(enumerate(about["tokens"]))

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(self._tokens.get(token, "") for token in ids if token not in (self.pad_token_id, self.eos_token_id))
