"""Model FLOPs by formula are those that torch counts in a forward and backward pass; peaks are known by name or not at all."""

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration, VisionEncoderDecoderModel

from training.fine_tuning.examples import NO_LABEL
from training.fine_tuning.model_flops import causal_flops, pair_flops, picture_flops, titler_flops
from training.fine_tuning.packing import causal_loss, pack
from training.fine_tuning.pairs import PairExamples, summed_loss
from training.loop.flops import flop_rates, peak_flops
from training.words.captions.networks import new_masked_model
from training.words.captions.train import title_loss


def documents(number: int, tokens: int) -> list[list[int]]:
    return torch.randint(2, 50, (number, tokens), generator=torch.Generator().manual_seed(0)).tolist()


def test_those_of_gpt2():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=48, n_layer=3, n_head=3, n_positions=64, bos_token_id=0, eos_token_id=0))
    with FlopCounterMode(display=False) as counted:
        causal_loss(model, pack(documents(4, 50), 0, 1))[0].backward()
    assert causal_flops(model, [50] * 4) == pytest.approx(counted.get_total_flops(), rel=0.02)
    # Packed tokens count as if each document stood alone.
    assert causal_flops(model, [25] * 8) < causal_flops(model, [50] * 4)


@pytest.mark.parametrize("feed", ["relu", "gated-gelu"])
def test_those_of_t5(feed):
    sizes = {"vocab_size": 300, "d_model": 48, "d_kv": 24, "d_ff": 96, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0, feed_forward_proj=feed))
    pairs = PairExamples(documents(4, 60), documents(4, 30), 0)
    with FlopCounterMode(display=False) as counted:
        summed_loss(model, pairs.batch(range(4)))[0].backward()
    assert pair_flops(model, pairs) == pytest.approx(counted.get_total_flops(), rel=0.02)


def titler(architecture: str) -> Any:
    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "n_embd": 48, "n_layer": 3, "n_head": 3, "n_positions": 64, "add_cross_attention": True}
    decoder = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
    sees = AutoModel.from_config(new_masked_model(architecture, image_px=32, patch_px=4, width=64, layers=4, heads=4, dropout=0.0).config)
    model = VisionEncoderDecoderModel(encoder=sees, decoder=decoder)
    model.config.decoder_start_token_id, model.config.pad_token_id = 0, 1
    return model.eval()


@pytest.mark.parametrize("architecture", ["vit", "swin"])
def test_those_of_a_titler_and_its_loss_is_that_of_all_logits(architecture):
    model, labels = titler(architecture), torch.tensor(documents(3, 20))
    labels[0, 12:] = NO_LABEL
    batch = {"pixel_values": torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)), "labels": labels}
    # The CPU's fused attention is not among what torch counts.
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        total, number = title_loss(model, batch)
        total.backward()
    assert titler_flops(model, batch["pixel_values"][:1], [20] * 3) == pytest.approx(counted.get_total_flops(), rel=0.03)
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad()
    plain = 52 * model(**batch).loss
    plain.backward()
    assert int(number) == 52 and total.item() == pytest.approx(plain.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name not in gradients)
        assert parameter.grad is None or torch.allclose(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4), name


@pytest.mark.parametrize("architecture", ["vit", "swin"])
def test_those_of_an_encoder_that_fills_in_pictures(architecture):
    model = new_masked_model(architecture, image_px=32, patch_px=4, width=64, layers=4, heads=4, dropout=0.0)
    masks = torch.arange(64)[None] % 2 == 0
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, 3, 32, 32), bool_masked_pos=masks).reconstruction.sum().backward()
    flops, _ = picture_flops(model, pixel_values=torch.zeros(1, 3, 32, 32), bool_masked_pos=masks)
    assert flops == pytest.approx(counted.get_total_flops(), rel=0.05)


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989.4),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362.05),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("AMD Instinct MI300X", None),
    ],
)
def test_peaks_are_those_of_the_data_sheets(name, tflops):
    peak = peak_flops(name)
    assert (None if peak is None else peak / 1e12) == tflops


def test_the_share_of_the_peak_is_told_where_it_is_known(monkeypatch):
    assert flop_rates(1e9, torch.device("cpu")) == {"model_flops_per_second": 1e9}
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-40GB")
    assert flop_rates(312e12, torch.device("cuda", 0), processes=2)["model_flops_utilization"] == pytest.approx(0.5)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "of the future")
    assert flop_rates(1e12, torch.device("cuda", 0)) == {"model_flops_per_second": 1e12}
