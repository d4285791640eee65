"""The part about words: a GPT-2 of 124 M parameters learns titles and abstracts, as fast as it can."""

import math
from typing import Any

from bench.gpu.device import Meter, peaks
from bench.gpu.molecules import learn
from bench.gpu.recording import Work
from stages.reporting import SilentReporter


def titles(work: Work) -> None:
    """Tokens a second and the share of the device's bfloat16 peak that they are; then bits a character of papers held out."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from training.fine_tuning.generation import Generation, write
    from training.fine_tuning.packing import causal_loss
    from training.fine_tuning.trainer import FineTuner, Task
    from training.loop.seeding import seed_everything
    from training.words.titles.config import TitleOptions
    from training.words.titles.data import Titles

    about = work.inputs.about["words"]
    row_tokens = 64 if work.tiny else 1024
    documents = {split: [ids[:row_tokens] for ids in work.inputs.documents("abstracts", split)] for split in ("train", "valid")}
    train, valid = (Titles([], documents[split], about["pad"], row_tokens) for split in ("train", "valid"))
    # The published sizes, whatever the vocabulary of the inputs leaves unused, so that the speed is that of GPT-2.
    sizes: dict[str, Any] = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": about["vocabulary"]} if work.tiny else {"vocab_size": 50_257}
    ids = {"bos_token_id": about["bos"], "eos_token_id": about["eos"], "pad_token_id": about["pad"]}
    longest = max(map(len, documents["train"]))
    batch = 4 if work.tiny else max(8, 32 * row_tokens // (sum(map(len, documents["train"])) // len(documents["train"])))

    def make(total: int) -> FineTuner:
        seed_everything(0)
        model = GPT2LMHeadModel(GPT2Config(n_positions=row_tokens, **sizes, **ids, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
        budget = {"total_samples": total, "warmup_samples": total // 20, "batch_size": batch, "evaluate_at_most": 8 if work.tiny else 512}
        options = TitleOptions(**budget, maximum_tokens=row_tokens, dropout=0.0, learning_rate=6e-4, weight_decay=0.1, adam_beta2=0.95)
        return FineTuner(Task(model, train, valid, causal_loss, buckets=False), options, Devices(work.device), SilentReporter())

    from training.loop.devices import Devices

    tuner, told = learn(work, make, until=0.2 * work.left(), at_most=2_000_000_000)
    parameters = sum(parameter.numel() for parameter in tuner.model.parameters())
    flops = flops_per_token(parameters, sizes, row_tokens, longest) * told["samples_per_s"]
    peak = peaks(work.device)["bf16_flops"]
    share = {"model_flops_per_s": flops, "share_of_bf16_peak": flops / peak if peak else None}
    work.row("learnt", model="GPT-2", parameters=parameters, documents=len(train), row_tokens=row_tokens, batch=batch, **told, **share)
    with Meter(work.device):
        loss = tuner.evaluate(tuner.judged_model())["validation_loss"]
    # Predicted are all tokens but the first of a document; characters are counted with the end of each as one.
    tokens = sum(len(document) - 1 for document in documents["valid"])
    bits = loss / math.log(2) * tokens / about["held_out_characters"]["abstracts"]
    told_bits = {"bits_per_token": loss / math.log(2), "bits_per_character": None if work.inputs.most else bits}
    work.row("judged", model="GPT-2", validation_loss=loss, judged=len(tuner.judged), **told_bits)

    class Spelling:
        """What writing asks of a tokenizer."""

        pad_token_id, eos_token_id, bos_token_id = about["pad"], about["eos"], about["bos"]

        def decode(self, ids: list[int], **_: Any) -> str:
            return "".join(about["tokens"][token] for token in ids if token < about["vocabulary"] and token not in (about["pad"], about["eos"]))

    import torch

    start = {"input_ids": torch.full((16, 1), about["bos"]), "attention_mask": torch.ones(16, 1, dtype=torch.long)}
    settings = Generation(strategy="sample", top_p=0.9, max_new_tokens=16 if work.tiny else 200)
    with Meter(work.device) as meter:
        written = [text.text for (text,) in write(tuner.judged_model(), Spelling(), start, settings, seed=0)]
    work.keep("samples", "titles.txt", "\n\n".join(written) + "\n")
    work.row("written", model="GPT-2", texts=len(written), seconds=meter.seconds)


def flops_per_token(parameters: int, sizes: dict[str, Any], positions: int, longest: int) -> float:
    """Of forward and backward: 6 for each weight that multiplies, 12 · layers · width for each token that is attended to.

    Positions are looked up, not multiplied by; the embedding is, as the head. In packed rows a token attends to those of its own document alone, on
    average half of the `longest` at most, which is what is counted. Source: Chowdhery et al. 2022 (PaLM), appendix B.
    """
    width, layers = sizes.get("n_embd", 768), sizes.get("n_layer", 12)
    return 6 * (parameters - positions * width) + 12 * layers * width * longest / 2
