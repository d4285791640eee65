"""The parts about molecules: PolyGPT, PolyVAE, PolyLDM and PolyTAO learn for as long as they have, and write; how fast PolyGPT writes."""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from bench.gpu.device import Meter, seconds_of
from bench.gpu.recording import Work
from stages.reporting import SilentReporter
from training.loop.devices import Devices
from training.polymers.decoding import SamplingSettings, Writer, choose_token, sample_tokens
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import PolyGPTData
from training.polymers.gpt.networks import PolyGPT, PolyGPTShape
from training.polymers.gpt.sample import PolyGPTWriter
from training.polymers.gpt.trainer import PolyGPTTrainer
from training.polymers.smiles_tokenizer import BOS, EOS

PROPERTIES = ("mol_wt", "mol_log_p", "tpsa")
# Nobody asks these parts for text: molecules are spelled from the vocabulary in the inputs.
_NO_TOKENIZER: Any = None


def shape_of(work: Work, properties: Sequence[str] = PROPERTIES) -> dict[str, Any]:
    """The fields of a `ConditionedShape`."""
    about = work.inputs.about["molecules"]
    mean, std = work.inputs.scale(properties)
    scale = {"property_mean": tuple(mean.tolist()), "property_std": tuple(std.tolist())}
    units = {name: about["units"][name] for name in properties}
    sizes = {"vocabulary_size": len(about["vocabulary"]), "maximum_tokens": about["maximum_tokens"]}
    return {**sizes, "properties": tuple(properties), **scale, "property_units": units}


def learn(work: Work, make: Callable[[int], Any], *, until: float, at_most: int, probe_steps: int = 12) -> tuple[Any, dict[str, Any]]:
    """A trainer that has learnt until about `until` (seconds left), whose schedule ends there: how many samples that are, a trial says first.

    make: a trainer for so many samples. at_most: of them.
    """
    trainer = make(at_most)
    for place in range(probe_steps if not work.tiny else 2):
        if place == probe_steps // 2 or (work.tiny and place == 1):
            began, seen = time.monotonic(), trainer.samples_seen
        trainer.step()
    with Meter(work.device):
        rate = (trainer.samples_seen - seen) / max(1e-9, time.monotonic() - began)
    # A twentieth for what the trial did not see: longer batches, a second phase that has more to do.
    total = max(1, min(at_most, round(0.95 * rate * (work.left() - until)))) if not work.tiny else 2 * trainer.samples_seen
    trainer = make(total)
    outcome = None
    with Meter(work.device) as meter:
        while trainer.samples_seen < total and (work.tiny or work.left() > until):
            outcome = trainer.step()
    seconds = max(meter.seconds, 1e-9)
    values = {name: float(value) for name, value in outcome.values.items()} if outcome is not None else {}
    costs = {"seconds": meter.seconds, "watts": meter.watts, "memory_gib": meter.memory_gib}
    told = {"samples": trainer.samples_seen, "planned": total, "samples_per_s": trainer.samples_seen / seconds, **costs, "values": values}
    return trainer, told


def polygpt(work: Work) -> None:
    """Random spellings first, then canonical ones with properties; ten thousand molecules written freely, and some on request."""
    sizes = {"width": 16, "layers": 1, "heads": 2, "predictor_width": 8, "batch_size": 8} if work.tiny else {"batch_size": 1024}
    shape = PolyGPTShape(**shape_of(work), **{name: value for name, value in sizes.items() if name != "batch_size"})
    train, valid = (work.inputs.molecules(split, PROPERTIES) for split in ("train", "valid"))
    spelled = work.inputs.molecules("train", PROPERTIES, spellings=True)
    data = PolyGPTData(shape, _NO_TOKENIZER, spelled, train, valid)

    def make(total: int) -> PolyGPTTrainer:
        pretrain, warmup = total * 7 // 10, min(50_000, total // 20)
        budget = {"pretrain_samples": pretrain, "finetune_samples": total - pretrain, "warmup_samples": warmup}
        return PolyGPTTrainer(data, PolyGPTConfig(**sizes, **budget, learning_rate=1e-3, finetune_learning_rate=5e-4), Devices(work.device))

    trainer, told = learn(work, make, until=0.25 * work.left(), at_most=20_000_000)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    work.row("learnt", model="PolyGPT", molecules=len(train), parameters=parameters, **told, validation=trainer.validate())
    writer = PolyGPTWriter(trainer.final_model(), _NO_TOKENIZER)
    number, nothing = (16 if work.tiny else 10_000), numpy.full((1, len(PROPERTIES)), numpy.nan, numpy.float32)
    write(work, "polygpt", writer, nothing.repeat(number, 0), temperature=1.0)
    # Properties of molecules that it has never seen, as wishes.
    wishes = work.inputs.molecules("test", PROPERTIES).properties[: number // 5]
    write(work, "polygpt", writer, wishes, temperature=0.8, name="asked")


def write(work: Work, model: str, writer: Writer, wishes: numpy.ndarray, *, temperature: float, name: str = "free", reserve_s: float = 1.0) -> None:
    """A molecule for each of `wishes` [N, P], in standard deviations, NaN for none; fewer where time runs out. Kept as text for `score`."""
    side_by_side, lines = (8 if work.tiny else 1000), list[str]()
    finished, wanted = 0, torch.from_numpy(wishes.astype(numpy.float32))
    mean, std = work.inputs.scale(PROPERTIES)
    with Meter(work.device) as meter:
        for start in range(0, len(wanted), side_by_side):
            if start and work.left() < reserve_s and not work.tiny:
                break
            part = wanted[start : start + side_by_side]
            settings = SamplingSettings(temperature=temperature, batch_size=len(part))
            for row, tokens in enumerate(sample_tokens(writer, part, ~part.isnan(), settings, first_index=start).tolist()):
                finished += EOS in tokens
                values = (wishes[start + row] * std + mean).tolist()
                asked = {key: value for key, value in zip(PROPERTIES, values, strict=True) if not math.isnan(value)}
                lines.append(json.dumps({"smiles": work.inputs.spelled(tokens), "finished": EOS in tokens, **({"asked": asked} if asked else {})}))
    work.keep("samples", f"{model}_{name}.jsonl", "\n".join(lines) + "\n")
    rate = len(lines) / max(meter.seconds, 1e-9)
    work.row("written", model=model, how=name, temperature=temperature, molecules=len(lines), finished=finished, molecules_per_s=rate)


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

    tiny = {"width": 16, "property_width": 8, "latent": 4, "encoder_layers": 1, "layers": 1, "heads": 2}
    shape = PolyVAEShape(**shape_of(work), **(tiny if work.tiny else {}))
    train, valid = (work.inputs.molecules(split, PROPERTIES) for split in ("train", "valid"))
    data = PolyVAEData(shape, _NO_TOKENIZER, train, valid)

    def make(total: int) -> PolyVAETrainer:
        sizes = {**tiny, "batch_size": 8} if work.tiny else {"batch_size": 512}
        budget = {"total_samples": total, "kl_warmup_samples": total // 2, "warmup_samples": min(20_000, total // 20)}
        return PolyVAETrainer(data, PolyVAEConfig(**sizes, **budget, kl_weight=0.2), Devices(work.device), SilentReporter())

    trainer, told = learn(work, make, until=0.4 * work.left(), at_most=20_000_000)
    work.row("learnt", model="PolyVAE", molecules=len(train), **told, validation=trainer.validate())
    vae = trainer.final_model().requires_grad_(False)
    number, nothing = (16 if work.tiny else 2000), numpy.full((1, len(PROPERTIES)), numpy.nan, numpy.float32)
    write(work, "polyvae", PolyVAEWriter(vae, _NO_TOKENIZER), nothing.repeat(number, 0), temperature=1.0)

    sets = [encode(vae, part, work.device) for part in (train, valid)]

    def make_ldm(total: int) -> PolyLDMTrainer:
        sizes = {"hidden_width": 16, "step_width": 8, "batch_size": 8, "validation_steps": 5, "diffusion_steps": 25} if work.tiny else {}
        budget = {"total_samples": total, "warmup_samples": min(50_000, total // 20), "unfreeze_at_samples": total // 5}
        return PolyLDMTrainer(vae, *sets, PolyLDMConfig(**sizes, **budget), Devices(work.device))

    ldm, told = learn(work, make_ldm, until=0.4 * work.left(), at_most=50_000_000)
    work.row("learnt", model="PolyLDM", molecules=len(train), **told, validation=ldm.validate())
    made = ldm.final_model()
    settings = LatentSettings(**({"steps": 5} if work.tiny else {}))
    write(work, "polyldm", PolyLDMWriter(made.vae, _NO_TOKENIZER, made, settings), nothing.repeat(number, 0), temperature=1.0)


def polytao(work: Work) -> None:
    """Learns prompts of the published 15 properties, and writes, greedily, for prompts of molecules that it has never seen."""
    from training.fine_tuning.generation import Generation, generate
    from training.fine_tuning.trainer import FineTuner
    from training.polymers.tao.config import PolyTAOConfig
    from training.polymers.tao.prompts import PUBLISHED, PromptForm
    from training.polymers.tao.train import task_of

    about = work.inputs.about["molecules"]
    tables = {split: [work.inputs.molecule_table(split, PUBLISHED)] for split in ("train", "valid")}
    tiny = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 16, "batch_size": 8}
    sizes = tiny if work.tiny else {"d_model": 384, "layers": 6, "heads": 6, "d_ff": 1536, "batch_size": 256}
    vocabulary, units = about["vocabulary"][about["special_tokens"] :], {name: about["units"][name] for name in PUBLISHED}

    def make(total: int) -> FineTuner:
        budget = {"total_samples": total, "warmup_samples": total // 20, "evaluate_at_most": 16 if work.tiny else 256, "written_prompts": 8}
        config = PolyTAOConfig(**sizes, **budget, maximum_tokens=about["maximum_tokens"], learning_rate=1e-3, adam_beta2=0.98)
        return FineTuner(task_of(tables, vocabulary, units, config, SilentReporter()), config, Devices(work.device), SilentReporter())

    tuner, told = learn(work, make, until=0.3 * work.left(), at_most=20_000_000)
    parameters = sum(parameter.numel() for parameter in tuner.model.parameters())
    work.row(
        "learnt", model="PolyTAO", molecules=len(tuner.task.train), parameters=parameters, **told, validation=tuner.evaluate(tuner.judged_model())
    )
    model, (tokenizer,) = tuner.final_model(), tuner.task.savers
    # Prompts of the part that nobody has looked at.
    test = work.inputs.molecule_table("test", PUBLISHED)
    asked = test.properties[: 8 if work.tiny else 2000]
    form, lines, began = PromptForm.of(model.config), list[str](), time.monotonic()
    greedy = Generation(max_new_tokens=about["maximum_tokens"], batch_size=8 if work.tiny else 500)
    for start in range(0, len(asked), greedy.batch_size):
        if start and work.left() < 1:
            break
        part = asked[start : start + greedy.batch_size]
        prompts = tokenizer(form.texts(part), padding=True, return_tensors="pt")
        inputs = {name: prompts[name] for name in ("input_ids", "attention_mask")}
        for wishes, (text,) in zip(part.tolist(), generate(model, tokenizer, inputs, greedy, seed=0), strict=True):
            lines.append(json.dumps({"smiles": text, "finished": True, "asked": dict(zip(PUBLISHED, wishes, strict=True))}))
    work.keep("samples", "polytao_asked.jsonl", "\n".join(lines) + "\n")
    rate = len(lines) / max(1e-9, time.monotonic() - began)
    work.row("written", model="polytao", how="asked", temperature=0, molecules=len(lines), molecules_per_s=rate)


# How fast molecules are written


class EndlessPolyGPT(PolyGPT):
    """Never ends a molecule, so that every way of writing does the same work."""

    def logits(self, hidden: Tensor) -> Tensor:
        return super().logits(hidden).index_fill(-1, torch.tensor([EOS], device=hidden.device), -1e9)


@torch.inference_mode()
def _without_cache(model: PolyGPT, batch: int, steps: int) -> Tensor:
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
    """Greedy molecules, the same from both ways or no number is given; then molecules a second of each."""
    for batch, steps in _lengths(work):
        torch.manual_seed(0)
        sizes = {"width": 16, "layers": 1, "heads": 2} if work.tiny else {"width": 256, "layers": 8, "heads": 8}
        model = EndlessPolyGPT(PolyGPTShape(vocabulary_size=64, maximum_tokens=steps + 2, **sizes)).to(work.device).eval()
        nothing = torch.zeros(batch, 0)
        ways: dict[str, Callable[[], Tensor]] = {
            "loop without a cache": lambda model=model, batch=batch, steps=steps: _without_cache(model, batch, steps),
            "sample_tokens": lambda model=model, nothing=nothing, steps=steps: sample_tokens(
                PolyGPTWriter(model, _NO_TOKENIZER), nothing, nothing.bool(), _GREEDY, steps=steps
            ),
        }
        plain, cached = (way() for way in ways.values())
        # Sums in another order may tip a near-tie between untrained logits; what follows it differs as well.
        same = (plain == cached).double().cumprod(dim=1).mean().item()
        seconds = {name: seconds_of(way, work.device, most_s=work.left() / 8, rounds=5) for name, way in ways.items()}
        slow, fast = seconds.values()
        rates = {name: batch / one for name, one in seconds.items()}
        work.row("sampling", batch=batch, tokens=steps, same_tokens=same, molecules_per_s=rates, ratio=slow / fast)


def _lengths(work: Work) -> Iterator[tuple[int, int]]:
    for pair in [(2, 6)] if work.tiny else [(16, 78), (16, 126), (1, 78), (256, 78)]:
        if work.left() > 2 or work.tiny:
            yield pair
