"""Let a trained PolyTAO write molecules.

    python -m training.polymers.tao.sample                                         # the stage: data/polytao_samples/samples.parquet
    python -m training.polymers.tao.sample --model data/polytao --number 20 --temperature 0 --property mol_wt=150:350       # a table
    python -m training.polymers.tao.sample --model hkqiu/PolymerGenerationPretrainedModel --property mol_wt=264             # or its folder

Temperature 0 is greedy search. A molecule does not depend on the others written beside it.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM

from training.fine_tuning.examples import TuningError
from training.fine_tuning.generation import Generation, GenerationError, write
from training.fine_tuning.model_folder import load_model, load_tokenizer
from training.polymers.conditions import MoleculeModelError
from training.polymers.decoding import SamplingSettings
from training.polymers.guided import Guide, GuidedLogits
from training.polymers.sample_table import Request, SampledMolecule
from training.polymers.sampling import OpenModel, sampling_program
from training.polymers.smiles import split_smiles
from training.polymers.tao.prompts import PromptForm
from training.polymers.tao.tokenizer import encode

STAGE, MODEL = "polytao_samples", "polytao"


def open_polytao(folder: Path, device: torch.device) -> OpenModel:
    """From a `data/polytao` folder; or published weights by name, which know the published prompt. Raises TuningError."""
    model = load_model(folder, AutoModelForSeq2SeqLM)
    tokenizer, form = load_tokenizer(folder, model), PromptForm.of(model.config)
    units = {name: form.units.get(name, "") for name in form.properties}
    return OpenModel(partial(sample_polytao, model.to(device), tokenizer, form), units, form.ranges())


def sample_polytao(
    model: Any, tokenizer: Any, form: PromptForm, requests: Sequence[Request], settings: SamplingSettings
) -> Iterator[SampledMolecule]:
    """One molecule for each request, in order, batch by batch; see `sample_molecules`. Raises MoleculeModelError."""
    generation, processors = _generation(form, settings), list[GuidedLogits]()
    if settings.guided:
        guide = _guide(tokenizer, settings)
        processors.append(GuidedLogits(guide, begin=1, room=generation.max_new_tokens, pad=tokenizer.pad_token_id))
    for start in range(0, len(requests), settings.batch_size):
        prompts = encode(tokenizer, form.asked(requests[start : start + settings.batch_size]))
        inputs = dict(tokenizer.pad({"input_ids": prompts}, padding_side="right", return_tensors="pt"))
        for (written,) in write(model, tokenizer, inputs, generation, seed=settings.seed, first=start, processors=processors):
            # SMILES has no blanks; tokenizers of words put some between them.
            yield SampledMolecule("".join(written.text.split()), written.ended)


def _generation(form: PromptForm, settings: SamplingSettings) -> Generation:
    """The settings in the words of fine-tunings."""
    lengths = Generation(max_new_tokens=form.maximum_tokens, batch_size=settings.batch_size)
    if settings.temperature == 0:
        return lengths
    return replace(lengths, strategy="sample", temperature=settings.temperature, top_k=settings.top_k, top_p=settings.top_p)


def _guide(tokenizer: Any, settings: SamplingSettings) -> Guide:
    """Raises MoleculeModelError for a tokenizer of text, whose tokens cut atoms."""
    probe = split_smiles("C[N+](Cl)Br")
    if len(encode(tokenizer, ["".join(probe)])[0]) != len(probe) + 1:
        told = f"guided decoding needs a tokenizer whose tokens are atoms and bonds; {type(tokenizer).__name__} cuts C[N+](Cl)Br elsewhere"
        raise MoleculeModelError(f"{told}; train PolyTAO from scratch with this project's tokenizer, or set guided: false")
    texts = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_ids)
    return Guide([None if number in special else text for number, text in enumerate(texts)], tokenizer.eos_token_id, settings.rule)


def main(argv: Sequence[str] | None = None) -> int:
    return sampling_program(STAGE, MODEL, open_polytao, __doc__, argv, expected=(TuningError, GenerationError))


if __name__ == "__main__":
    sys.exit(main())
