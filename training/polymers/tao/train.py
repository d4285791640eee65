"""Train PolyTAO: a T5 (Raffel et al. 2020, arXiv 1910.10683) that writes the molecule whose properties its prompt names (Qiu et al. 2024).

    python -m training.polymers.tao.train
    python -m training.polymers.tao.train --set total_samples=1000                # a minute on a CPU
    python -m training.polymers.tao.train --set start_from=hkqiu/PolymerGenerationPretrainedModel --set prompt_style=text   # or a folder

Reads data/molecules, data/polymers (whichever `train_on` names) and data/smiles_tokenizer; writes data/polytao, a folder that transformers loads. The
same command again continues. Needs no rdkit: the properties are columns of the datasets.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

from formats.molecule_tables import MoleculeTable, MoleculeTableError
from stages.markdown import escape, table
from stages.reporting import Reporter
from training.fine_tuning.examples import NO_LABEL
from training.fine_tuning.generation import Generation, generate
from training.fine_tuning.hf_job import fine_tuning_job, run_fine_tuning
from training.fine_tuning.model_flops import pair_flops
from training.fine_tuning.model_folder import load_model, load_tokenizer
from training.fine_tuning.pairs import PairExamples, summed_loss, token_scores
from training.fine_tuning.trainer import Task
from training.polymers.conditions import MoleculeModelError
from training.polymers.data import TOKENIZER, molecule_table, open_data
from training.polymers.origin import write_origin
from training.polymers.smiles_tokenizer import SmilesTokenizerError
from training.polymers.tao.config import PolyTAOConfig
from training.polymers.tao.data import Molecules, prompted, writable
from training.polymers.tao.prompts import PromptForm
from training.polymers.tao.tokenizer import atoms_of, build_tokenizer

_LIMITS = "It writes texts that look like molecules with the wished properties; whether one is, and has them, must be computed of what it wrote."
_SHOWN = 8


def open_task(data: Path, config: PolyTAOConfig, reporter: Reporter) -> Task:
    """The fine-tuning on the molecules below `data`. Raises MoleculeModelError, TuningError, MoleculeTableError, SmilesTokenizerError."""
    opened = open_data("polytao", data, config, config.train_on, reporter)
    tables = {split: [molecule_table(data / name, config, split) for name in config.train_on] for split in ("train", "valid")}
    return task_of(tables, atoms_of(opened.tokenizer), opened.units, config, reporter)


def task_of(
    tables: Mapping[str, Sequence[MoleculeTable]], vocabulary: Sequence[str], units: Mapping[str, str], config: PolyTAOConfig, reporter: Reporter
) -> Task:
    """The same of molecules that were read already: tables of "train" and "valid", the atoms and bonds they are written in, units by property."""
    # A preset of a task adds its steps to those that were there, of properties of another task.
    steps = {name: step for name, step in config.steps.items() if name in config.properties}
    form = PromptForm(config.properties, steps, config.prompt_style, {}, units, config.maximum_tokens)
    model: Any = None
    if config.start_from is None:
        tokenizer = build_tokenizer(vocabulary, ())
    else:
        model = load_model(config.start_from, AutoModelForSeq2SeqLM, dropout_rate=config.dropout)
        tokenizer, form = load_tokenizer(config.start_from, model), _continued(form, model.config, config.start_from)
    learnt, held_out = (writable(tables[split], tokenizer, config.maximum_tokens) for split in ("train", "valid"))
    if not len(learnt.targets):
        raise MoleculeModelError(
            f"{', '.join(config.train_on)}: no molecule to learn from; set aside: {learnt.set_aside}; check "
            f"split_column, maximum_tokens ({config.maximum_tokens}) and that the tokenizer fits"
        )
    if form.style == "text" or model is None:
        form = form.fitted(learnt.values)
    if model is None:
        # What stands for wishes comes behind the atoms, whose numbers stay.
        atoms, tokenizer = len(tokenizer), build_tokenizer(vocabulary, form.vocabulary())
        model = T5ForConditionalGeneration(_t5(config, tokenizer))
        never = [tokenizer.pad_token_id, tokenizer.unk_token_id, *range(atoms, len(tokenizer))]
        model.generation_config.update(suppress_tokens=never)
    form.into(model.config)
    model.generation_config.update(max_new_tokens=config.maximum_tokens)
    reporter.log(f"polytao: {len(learnt.targets):,} molecules, {len(held_out.targets):,} held out; set aside: {learnt.set_aside}")
    return _task(model, tokenizer, form, learnt, held_out, config)


def _continued(form: PromptForm, config: Any, start_from: str) -> PromptForm:
    """`form` where the model that training starts from has learned none; else the model's own, which must be the same. Raises MoleculeModelError."""
    learned = PromptForm.of(config)
    if not hasattr(config, "polytao"):
        if form.style == "tokens":
            raise MoleculeModelError(
                f"{start_from} has no tokens for wishes; take prompt_style: text, or start from a PolyTAO of prompt_style: tokens"
            )
        return form
    for name in ("properties", "steps", "style"):
        if getattr(learned, name) != getattr(form, name):
            parameter = "prompt_style" if name == "style" else name
            raise MoleculeModelError(
                f"{start_from} was trained with {parameter} {getattr(learned, name)}, found {getattr(form, name)}; set {parameter} to the former"
            )
    return PromptForm(form.properties, form.steps, form.style, learned.seen, form.units, form.maximum_tokens)


def _t5(config: PolyTAOConfig, tokenizer: Any) -> T5Config:
    """T5 1.0, as the published weights: shared embeddings, relative positions, ReLU."""
    sizes = {"d_model": config.d_model, "d_kv": config.d_model // config.heads, "d_ff": config.d_ff, "num_layers": config.layers}
    tokens = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "decoder_start_token_id": tokenizer.pad_token_id}
    return T5Config(**sizes, **tokens, num_heads=config.heads, vocab_size=len(tokenizer), dropout_rate=config.dropout)


def _task(model: Any, tokenizer: Any, form: PromptForm, learnt: Molecules, held_out: Molecules, config: PolyTAOConfig) -> Task:
    train = prompted(learnt, form, tokenizer, condition_dropout=config.condition_dropout)
    valid = prompted(held_out, form, tokenizer)
    greedy = Generation(max_new_tokens=form.maximum_tokens)

    def measure(model: Any, _loss: float, judged: Sequence[int]) -> Mapping[str, float]:
        places = list(judged[: config.written_prompts])
        if not places:
            return {}
        batch = {name: values.to(model.device) for name, values in valid.batch(places).items()}
        written = generate(model, tokenizer, {name: batch[name] for name in ("input_ids", "attention_mask")}, greedy, seed=config.seed)
        hits = sum(text == held_out.smiles[place] for (text,), place in zip(written, places, strict=True))
        return {"validation_token_accuracy": _token_accuracy(model, batch), "validation_exact_match": hits / len(places)}

    def samples(model: Any) -> Mapping[str, str]:
        shown, examples = (held_out, valid) if len(valid) else (learnt, train)
        prompts, inputs = form.texts(shown.values[:_SHOWN]), PairExamples.inputs(examples, _SHOWN)
        written = [texts[0] for texts in generate(model, tokenizer, inputs, greedy, seed=config.seed)]
        rows = [list(map(escape, row)) for row in zip(prompts, written, shown.smiles, strict=False)]
        return {"samples.md": table(["prompt", "written", "real"], rows)}

    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "molecules": {"train": len(train), "valid": len(valid)},
        "set_aside": {"train": learnt.set_aside, "valid": held_out.set_aside},
    }
    return Task(
        model,
        train,
        valid,
        summed_loss,
        samples,
        measure,
        [tokenizer],
        facts=facts,
        beside=lambda output, ids: write_origin(output, ids, config.train_on, config.split_column),
        limits=_LIMITS,
        size=f"{model.config.num_layers} x {model.config.d_model}",
        epoch_flops=pair_flops(model, train),
    )


@torch.no_grad()
def _token_accuracy(model: Any, batch: Mapping[str, Any]) -> float:
    """Share of the tokens of `labels` that are the likeliest behind the true ones before them."""
    is_token = batch["labels"] != NO_LABEL
    return float((token_scores(model, batch).argmax(-1) == batch["labels"])[is_token].double().mean())


JOB = fine_tuning_job(
    "polytao",
    "training.polymers.tao.train",
    PolyTAOConfig,
    lambda data, config: {name: data / name for name in (*config.train_on, TOKENIZER)},
    open_task,
)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polytao`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_fine_tuning(JOB, __doc__, argv, expected=(MoleculeModelError, MoleculeTableError, SmilesTokenizerError))


if __name__ == "__main__":
    sys.exit(main())
