"""Fine-tunings on a GPU: compiled they learn what the CPU learns, few compilations do, and texts need no host."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from stages.reporting import Reporter
from tests.training.fine_tuning.test_generation import DRAWN, gpt2, prompts, t5, tokenizer  # noqa: F401
from tests.training.fine_tuning.test_trainer import titles
from training.fine_tuning.generation import Generation, write
from training.fine_tuning.options import FineTuning
from training.fine_tuning.packing import causal_loss, choose_attention
from training.fine_tuning.pairs import PairExamples, summed_loss
from training.fine_tuning.trainer import FineTuner, Task
from training.loop.compiling import compilations
from training.loop.devices import Devices
from training.loop.memory import CudaMeter

pytestmark = pytest.mark.gpu
GPU = Devices(torch.device("cuda", 0))


def tuner(devices: Devices, **options) -> FineTuner:
    torch.manual_seed(1)
    dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    network = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=64, n_layer=2, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0, **dropouts))
    config = FineTuning(**{"batch_size": 12, "learning_rate": 1e-2, "total_samples": 5000, "precision": "float32", **options})
    return FineTuner(Task(network, titles(48), titles(8, 5), causal_loss, buckets=False), config, devices, Reporter())


def test_compiled_steps_learn_what_plain_ones_do_and_two_compilations_do():
    here, there, before = tuner(Devices(torch.device("cpu"))), tuner(GPU), compilations()
    assert there.loss.is_on
    for _ in range(20):
        values = [float(one.step().values["loss"]) for one in (here, there)]
        assert values[1] == pytest.approx(values[0], rel=2e-2)
    assert there.loss.is_on and compilations() - before <= 4


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_never_waits_for_the_device(optimizer):
    trained = tuner(GPU, compile="off", optimizer=optimizer)
    trained.step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trained.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_line_through_two_batches_tells_the_peak_of_a_third():
    model = T5ForConditionalGeneration(T5Config(vocab_size=2000, d_model=256, d_ff=512, num_layers=2, num_heads=4, decoder_start_token_id=0))
    pairs = PairExamples([[5] * 100] * 64, [[6] * 50] * 64, 0)
    config = FineTuning(batch_size=64, compile="off")
    trained, meter = FineTuner(Task(model, pairs, pairs, summed_loss), config, GPU, Reporter()), CudaMeter(GPU.device)
    line = trained.fit_memory(meter)
    trained.step()
    assert meter.peak(trained.step) == pytest.approx(line.of(64), rel=0.15)


def test_attention_by_borders_learns_what_attention_with_a_mask_does():
    there, masked = tuner(GPU, precision="bfloat16", compile="off"), tuner(GPU, precision="bfloat16", compile="off")
    said = choose_attention(there.model, GPU.device, "bfloat16")
    assert "fused attention" in said, said
    for _ in range(20):
        values = [float(one.step().values["loss"]) for one in (masked, there)]
        assert values[1] == pytest.approx(values[0], rel=3e-2)


@pytest.mark.parametrize("make", [gpt2, t5])
def test_a_static_cache_writes_what_a_growing_one_writes(make, tokenizer):  # noqa: F811
    model, inputs = make().cuda(), prompts(tokenizer, "a", "bcd", "hello")
    for settings in (DRAWN, Generation("beam", max_new_tokens=12)):
        texts = [write(model, tokenizer, inputs, settings, seed=4, cache=cache) for cache in ("static", "dynamic")]
        assert sum(one == other for one, other in zip(*texts, strict=True)) >= 2
