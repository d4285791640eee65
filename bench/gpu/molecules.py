"""The parts about molecules: PolyGPT, PolyVAE, PolyLDM and PolyTAO learn for as long as they have, and write; how fast PolyGPT writes."""

import functools
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy
import torch
from torch import Tensor

from bench.gpu.device import seconds_of
from bench.gpu.learning import learn
from bench.gpu.recording import REPORTER, Sizes, Work
from training.loop.recording import Recorder
from training.polymers.decoding import SamplingSettings, Writer, choose_token, sample_tokens
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import PolyGPTData
from training.polymers.gpt.networks import PolyGPT, PolyGPTShape
from training.polymers.gpt.sample import PolyGPTWriter
from training.polymers.gpt.trainer import PolyGPTTrainer
from training.polymers.smiles_tokenizer import BOS, EOS

PROPERTIES = ("mol_wt", "mol_log_p", "tpsa")
_MOST_SAMPLES = 20_000_000
# Compiling takes half a minute, which a training of less than this does not earn back.
_WORTH_COMPILING_S = 180.0
# Nobody asks these parts for text: molecules are spelled from the vocabulary in the inputs.
_NO_TOKENIZER: Any = None


def shape_of(work: Work) -> Sizes:
    """The fields of a `ConditionedShape`."""
    about = work.inputs.about["molecules"]
    mean, std = work.inputs.scale(PROPERTIES)
    known: Sizes = {"vocabulary_size": len(about["vocabulary"]), "maximum_tokens": about["maximum_tokens"], "properties": PROPERTIES}
    units = {name: about["units"][name] for name in PROPERTIES}
    return {**known, "property_mean": tuple(mean.tolist()), "property_std": tuple(std.tolist()), "property_units": units}


def compile_for(work: Work) -> Literal["auto", "off"]:
    return "off" if work.left() < _WORTH_COMPILING_S else "auto"


def gpt_trainer(work: Work, budget: Sizes, *, compiled: Literal["auto", "off"]) -> PolyGPTTrainer:
    """The usual PolyGPT on random spellings first, then on canonical ones with properties."""
    model: Sizes = {"width": 16, "layers": 1, "heads": 2, "predictor_width": 8} if work.tiny else {}
    train, valid = (work.inputs.molecules(split, PROPERTIES) for split in ("train", "valid"))
    spelled = work.inputs.molecules("train", PROPERTIES, spellings=True)
    data = PolyGPTData(PolyGPTShape(**shape_of(work), **model), _NO_TOKENIZER, spelled, train, valid)
    rates: Sizes = {"learning_rate": 1e-3, "finetune_learning_rate": 5e-4, "compile": compiled, "batch_size": 8 if work.tiny else 1024}
    return PolyGPTTrainer(data, PolyGPTConfig(**model, **rates, **budget), work.devices)


def gpt_budget(total: int) -> Sizes:
    pretrain = total * 7 // 10
    return {"pretrain_samples": pretrain, "finetune_samples": total - pretrain, "warmup_samples": min(50_000, total // 20)}


def polygpt(work: Work) -> None:
    """Random spellings first, then canonical ones with properties; ten thousand molecules written freely, and some on request."""
    trainer = gpt_trainer(work, gpt_budget(_MOST_SAMPLES), compiled=compile_for(work))
    told = learn(work, trainer, gpt_budget, until=0.25 * work.left())
    _tell(work, "PolyGPT", trainer, told, trainer.validate())
    writer, number = PolyGPTWriter(trainer.final_model(), _NO_TOKENIZER), 16 if work.tiny else 10_000
    write(work, "polygpt", writer, _nothing(number), temperature=1.0)
    # Properties of molecules that it has never seen, as wishes.
    wishes = work.inputs.molecules("test", PROPERTIES).properties[: number // 5]
    write(work, "polygpt", writer, wishes, temperature=0.8, name="asked")


def _tell(work: Work, model: str, trainer: Any, told: Sizes, validation: Mapping[str, float]) -> None:
    parameters = sum(parameter.numel() for parameter in trainer.parameters)
    work.row("learnt", model=model, parameters=parameters, **told, validation=validation)


def _nothing(number: int) -> numpy.ndarray:
    return numpy.full((number, len(PROPERTIES)), numpy.nan, numpy.float32)


def write(work: Work, model: str, writer: Writer, wishes: numpy.ndarray, *, temperature: float, name: str = "free") -> None:
    """A molecule for each of `wishes` [N, P], in standard deviations, NaN for none; fewer where time runs out. Kept as text for `score`."""
    mean, std = work.inputs.scale(PROPERTIES)

    def some(place: slice) -> Iterator[Sizes]:
        part = torch.from_numpy(wishes[place].astype(numpy.float32))
        settings = SamplingSettings(temperature=temperature, batch_size=len(part))
        tokens = sample_tokens(writer, part, ~part.isnan(), settings, first_index=place.start).tolist()
        for ids, values in zip(tokens, (wishes[place] * std + mean).tolist(), strict=True):
            asked = {key: value for key, value in zip(PROPERTIES, values, strict=True) if not math.isnan(value)}
            yield {"smiles": work.inputs.spelled(ids), "finished": EOS in ids, **({"asked": asked} if asked else {})}

    _keep(work, f"{model}_{name}", len(wishes), 8 if work.tiny else 1000, some, model=model, how=name, temperature=temperature)


def _keep(work: Work, file: str, number: int, side_by_side: int, some: Callable[[slice], Iterator[Sizes]], **about: Any) -> None:
    """The molecules `some` makes for parts of `number` wishes, while there is time, as JSON lines."""
    rows, began = list[Sizes](), time.monotonic()
    for start in range(0, number, side_by_side):
        if start and work.is_over(1):
            break
        rows += some(slice(start, min(start + side_by_side, number)))
    rate = len(rows) / max(1e-9, time.monotonic() - began)
    work.keep("samples", f"{file}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    work.row("written", **about, molecules=len(rows), finished=sum(row["finished"] for row in rows), molecules_per_s=rate)


def polyvae(work: Work) -> None:
    """A PolyVAE for two thirds of the time, and a PolyLDM on its latents; each writes from nothing."""
    from training.polymers.ldm.config import PolyLDMConfig
    from training.polymers.ldm.latents import encode
    from training.polymers.ldm.sample import LatentSettings, PolyLDMWriter
    from training.polymers.ldm.trainer import PolyLDMTrainer
    from training.polymers.vae.config import PolyVAEConfig
    from training.polymers.vae.networks import PolyVAEShape
    from training.polymers.vae.trainer import PolyVAEData, PolyVAETrainer
    from training.polymers.vae.writer import PolyVAEWriter

    tiny: Sizes = {"width": 16, "property_width": 8, "latent": 4, "encoder_layers": 1, "layers": 1, "heads": 2}
    model = work.sizes(tiny, {})
    train, valid = (work.inputs.molecules(split, PROPERTIES) for split in ("train", "valid"))
    data = PolyVAEData(PolyVAEShape(**shape_of(work), **model), _NO_TOKENIZER, train, valid)

    def budget(total: int) -> Sizes:
        return {"total_samples": total, "kl_warmup_samples": total // 2, "warmup_samples": min(20_000, total // 20)}

    config = PolyVAEConfig(**model, **budget(_MOST_SAMPLES), batch_size=8 if work.tiny else 512, kl_weight=0.2)
    trainer = PolyVAETrainer(data, config, work.devices, REPORTER)
    told = learn(work, trainer, budget, until=0.4 * work.left())
    _tell(work, "PolyVAE", trainer, told, trainer.validate())
    vae, nothing = trainer.final_model().requires_grad_(False), _nothing(16 if work.tiny else 2000)
    write(work, "polyvae", PolyVAEWriter(vae, _NO_TOKENIZER), nothing, temperature=1.0)

    def ldm_budget(total: int) -> Sizes:
        return {"total_samples": total, "warmup_samples": min(50_000, total // 20), "unfreeze_at_samples": total // 5}

    learnt, judged = (encode(vae, part, work.device) for part in (train, valid))
    tiny = {"hidden_width": 16, "step_width": 8, "batch_size": 8, "validation_steps": 5, "diffusion_steps": 25}
    ldm = PolyLDMTrainer(vae, learnt, judged, PolyLDMConfig(**work.sizes(tiny, {}), **ldm_budget(_MOST_SAMPLES)), work.devices)
    told = learn(work, ldm, ldm_budget, until=0.4 * work.left())
    _tell(work, "PolyLDM", ldm, told, ldm.validate())
    made, settings = ldm.final_model(), LatentSettings(**work.sizes({"steps": 5}, {}))
    write(work, "polyldm", PolyLDMWriter(made.vae, _NO_TOKENIZER, made, settings), nothing, temperature=1.0)


def polytao(work: Work) -> None:
    """Learns prompts of the published 15 properties, and writes, greedily, for prompts of molecules that it has never seen."""
    from training.fine_tuning.generation import Generation
    from training.fine_tuning.generation import write as write_text
    from training.fine_tuning.trainer import FineTuner
    from training.polymers.tao.config import PolyTAOConfig
    from training.polymers.tao.prompts import PUBLISHED, PromptForm
    from training.polymers.tao.train import task_of

    about = work.inputs.about["molecules"]
    tables = {split: [work.inputs.molecule_table(split, PUBLISHED)] for split in ("train", "valid")}
    tiny: Sizes = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 16, "batch_size": 8, "evaluate_at_most": 16}
    usual: Sizes = {"d_model": 384, "layers": 6, "heads": 6, "d_ff": 1536, "batch_size": 256, "evaluate_at_most": 256}
    rates: Sizes = {"learning_rate": 1e-3, "adam_beta2": 0.98, "written_prompts": 8, "compile": compile_for(work)}
    vocabulary, units = about["vocabulary"][about["special_tokens"] :], {name: about["units"][name] for name in PUBLISHED}

    def budget(total: int) -> Sizes:
        return {"total_samples": total, "warmup_samples": total // 20}

    config = PolyTAOConfig(**work.sizes(tiny, usual), **rates, **budget(_MOST_SAMPLES), maximum_tokens=about["maximum_tokens"])
    tuner = FineTuner(task_of(tables, vocabulary, units, config, REPORTER), config, work.devices, REPORTER)
    told = learn(work, tuner, budget, until=0.3 * work.left())
    _tell(work, "PolyTAO", tuner, told, tuner.evaluate(tuner.judged_model()))
    model, (tokenizer,) = tuner.final_model(), tuner.task.savers
    # Prompts of the part that nobody has looked at.
    asked = work.inputs.molecule_table("test", PUBLISHED).properties[: 8 if work.tiny else 2000]
    form, greedy = PromptForm.of(model.config), Generation(max_new_tokens=about["maximum_tokens"], batch_size=500)

    def some(place: slice) -> Iterator[Sizes]:
        prompts = tokenizer(form.texts(asked[place]), padding=True, return_tensors="pt")
        inputs = {name: prompts[name] for name in ("input_ids", "attention_mask")}
        for wishes, (text,) in zip(asked[place].tolist(), write_text(model, tokenizer, inputs, greedy, seed=0), strict=True):
            yield {"smiles": text.text, "finished": text.ended, "asked": dict(zip(PUBLISHED, wishes, strict=True))}

    _keep(work, "polytao_asked", len(asked), greedy.batch_size, some, model="polytao", how="asked", temperature=0)


# How fast molecules are written


class EndlessPolyGPT(PolyGPT):
    """Never ends a molecule, so that every way of writing does the same work."""

    def logits(self, hidden: Tensor) -> Tensor:
        logits = super().logits(hidden)
        # Made on the device: a graph can hold no copy from the host.
        logits.select(-1, EOS).fill_(-1e9)
        return logits


@torch.inference_mode()
def without_cache(model: PolyGPT, batch: int, steps: int) -> Tensor:
    """Greedy tokens [B, steps], each from a pass over all that is written."""
    device = model.token_embedding.weight.device
    prefix, tokens = torch.zeros(batch, model.shape.width, device=device), torch.full((batch, 1), BOS, device=device)
    for _ in range(steps):
        logits = model.logits(model(tokens, prefix)[:, -1])
        token = choose_token(logits.float(), torch.zeros(batch, device=device), _GREEDY)
        tokens = torch.cat([tokens, token.unsqueeze(-1)], dim=1)
    return tokens[:, 1:]


_GREEDY = SamplingSettings(temperature=0)


def sampling(work: Work) -> None:
    """Greedy molecules, the same from every way or no number is given; then molecules a second of each."""
    sizes = work.sizes({"width": 16, "layers": 1, "heads": 2}, {"width": 256, "layers": 8, "heads": 8})
    for batch, steps in [(2, 6)] if work.tiny else [(16, 78), (16, 126), (1, 78), (256, 78)]:
        if work.is_over(2):
            break
        torch.manual_seed(0)
        model = EndlessPolyGPT(PolyGPTShape(vocabulary_size=64, maximum_tokens=steps + 2, **sizes)).to(work.device).eval()
        ways = _ways(model, batch, steps)
        plain, *others = (way() for way in ways.values())
        # Sums in another order may tip a near-tie between untrained logits; what follows it differs as well.
        same = min((plain == other).double().cumprod(dim=1).mean().item() for other in others)
        seconds = {name: seconds_of(way, work.device, most_s=work.left() / 12, rounds=5) for name, way in ways.items()}
        slow, *_, fast = seconds.values()
        rates = {name: batch / one for name, one in seconds.items()}
        work.row("sampling", batch=batch, tokens=steps, same_tokens=same, molecules_per_s=rates, ratio=slow / fast)


def _ways(model: PolyGPT, batch: int, steps: int) -> dict[str, Callable[[], Tensor]]:
    """The last is the project's own; the one before it is that without graphs."""
    nothing, writer = torch.zeros(batch, 0), PolyGPTWriter(model, _NO_TOKENIZER)
    sample = functools.partial(sample_tokens, writer, nothing, nothing.bool(), _GREEDY, steps=steps)
    one_by_one = functools.partial(sample, recorder=Recorder())
    return {"loop without a cache": lambda: without_cache(model, batch, steps), "launched one by one": one_by_one, "sample_tokens": sample}
