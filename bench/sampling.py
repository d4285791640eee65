"""Sampling with the key-value cache beside the cache-less loop that recomputes the whole molecule for every token.

    python -m bench.sampling                   # a small model, seconds
    python -m bench.sampling --scale std       # 11 M parameters (PolyTAO: 25 M), batches of 16 and 64, 64 tokens: some minutes on one thread

PolyGPT, and PolyTAO behind prompts of 15 tokens, which its encoder reads but once on either side. First both sides write the same greedy molecules;
without that no number is given. Then rounds take turns, the first is dropped, and the median of the pairs' ratios of CPU time is reported. Untrained
weights: what is written does not matter for speed, and the end is kept out so that all rows go to the end.
"""

import platform
import resource
import statistics
import sys
import time
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import T5Config, T5ForConditionalGeneration

from bench.gpu.molecules import EndlessPolyGPT, without_cache
from bench.measuring import parser, spread, write_report
from training.fine_tuning.generation import Generation, write
from training.polymers.decoding import SamplingSettings, sample_tokens
from training.polymers.gpt import PolyGPT, PolyGPTShape
from training.polymers.gpt.sample import PolyGPTWriter
from training.polymers.tao.tokenizer import build_tokenizer

GREEDY = SamplingSettings(temperature=0)
_T5_TOKENIZER = build_tokenizer([chr(0x100 + number) for number in range(125)], ())


def with_cache(model: PolyGPT, batch: int, steps: int) -> torch.Tensor:
    """The same from `sample_tokens`."""
    nothing = torch.zeros(batch, 0)
    return sample_tokens(PolyGPTWriter(model, Tokenizer(BPE())), nothing, nothing.bool(), GREEDY, steps=steps)


class EndlessT5(T5ForConditionalGeneration):
    """A T5 that never ends a molecule, nor writes an unknown atom."""

    def forward(self, *arguments, **named):
        output = super().forward(*arguments, **named)
        output.logits[..., [self.config.eos_token_id, _T5_TOKENIZER.unk_token_id]] = -1e9
        return output


def prompts(batch: int) -> dict[str, torch.Tensor]:
    """input_ids and attention_mask [B, 15] of different wishes."""
    ids = torch.randint(3, len(_T5_TOKENIZER), (batch, 15), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@torch.inference_mode()
def t5_without_cache(model: T5ForConditionalGeneration, batch: int, steps: int) -> list[str]:
    """Greedy texts [B] of `steps` tokens, each token from a pass of the decoder over everything written so far."""
    given = prompts(batch)
    read = model.get_encoder()(**given)
    tokens = torch.full((batch, 1), model.config.decoder_start_token_id)
    for _ in range(steps):
        scores = model(encoder_outputs=read, attention_mask=given["attention_mask"], decoder_input_ids=tokens, use_cache=False).logits[:, -1]
        scores[:, model.config.pad_token_id] = -torch.inf
        tokens = torch.cat([tokens, scores.argmax(-1, keepdim=True)], dim=1)
    return _T5_TOKENIZER.batch_decode(tokens[:, 1:], skip_special_tokens=True, clean_up_tokenization_spaces=False)


def t5_with_cache(model: T5ForConditionalGeneration, batch: int, steps: int) -> list[str]:
    """The same from what `polytao_samples` writes with."""
    settings = Generation(max_new_tokens=steps, batch_size=batch)
    return [texts[0].text for texts in write(model, _T5_TOKENIZER, prompts(batch), settings, seed=0)]


def measure(function, *arguments) -> tuple[float, float]:
    """(CPU seconds, wall seconds)."""
    cpu, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    function(*arguments)
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime - cpu.ru_utime - cpu.ru_stime, time.perf_counter() - wall


def compare(model: torch.nn.Module, batch: int, steps: int, rounds: int) -> dict[str, Any]:
    """One row of the table. Raises SystemExit when the two sides differ."""
    is_t5 = isinstance(model, T5ForConditionalGeneration)
    cached, cacheless = (t5_with_cache, t5_without_cache) if is_t5 else (with_cache, without_cache)
    written, again = (function(model, batch, steps) for function in (cached, cacheless))
    if not (written == again if is_t5 else torch.equal(written, again)):
        sys.exit(f"batch {batch}: greedy molecules with and without the cache differ; no speed is reported")
    # The first round pays for what torch sets up once.
    pairs = [(measure(cached, model, batch, steps), measure(cacheless, model, batch, steps)) for _ in range(rounds + 1)][1:]
    ratios = [slow[0] / fast[0] for fast, slow in pairs]
    fast_cpu = statistics.median(fast[0] for fast, _ in pairs)
    slow_cpu = statistics.median(slow[0] for _, slow in pairs)
    return {
        "model": "PolyTAO" if is_t5 else "PolyGPT",
        "batch": batch,
        "tokens": steps,
        "cached_cpu_s": round(fast_cpu, 4),
        "cacheless_cpu_s": round(slow_cpu, 4),
        "cached_molecules_per_cpu_s": round(batch / fast_cpu, 2),
        "ratio": spread(ratios, 2),
        # Waiting for other work on the machine shows as wall time without CPU time; CPU times stay usable.
        "quiet_machine": all(wall <= 1.3 * cpu for pair in pairs for cpu, wall in pair),
    }


def endless_t5(width: int, layers: int, heads: int) -> EndlessT5:
    """In evaluation mode; as many blocks in the encoder as in the decoder."""
    sizes = {"d_model": width, "d_kv": width // heads, "d_ff": 4 * width, "num_layers": layers, "num_heads": heads}
    tokens = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return EndlessT5(T5Config(**sizes, **tokens, vocab_size=len(_T5_TOKENIZER))).eval()


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--rounds", type=int, help="rounds after the first (default: 2 smoke, 5 std)")
    flags.add_argument("--batches", type=int, nargs="+", help="molecules side by side (default: 16 smoke; 1 16 64 std)")
    arguments = flags.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    smoke = arguments.scale == "smoke"
    # Large enough that computing counts for more than calling.
    size = {"width": 96, "layers": 2, "heads": 4} if smoke else {"width": 384, "layers": 6, "heads": 6}
    steps, batches = (32, (16,)) if smoke else (64, (1, 16, 64))
    model = EndlessPolyGPT(PolyGPTShape(vocabulary_size=128, maximum_tokens=steps + 1, dropout=0.0, **size)).eval()
    models = {"PolyGPT": model, "PolyTAO": endless_t5(**size)}
    parameters = {name: sum(parameter.numel() for parameter in model.parameters()) for name, model in models.items()}
    rounds = arguments.rounds or (2 if smoke else 5)
    rows = [compare(model, batch, steps, rounds) for model in models.values() for batch in arguments.batches or batches]
    counts = ", ".join(f"{name} {count:,}" for name, count in parameters.items())
    print(f"parameters: {counts}; {steps} tokens, one thread, torch {torch.__version__}; greedy molecules equal")
    print("model    batch  cached CPU s  cache-less CPU s  molecules/CPU s  ratio (min-max)")
    for row in rows:
        ratio, busy = row["ratio"], "" if row["quiet_machine"] else "  busy machine"
        print(
            f"{row['model']}  {row['batch']:5d}  {row['cached_cpu_s']:12.3f}  "
            f"{row['cacheless_cpu_s']:16.3f}  {row['cached_molecules_per_cpu_s']:15.1f}"
            f"  {ratio['median']:5.1f} ({ratio['lowest']:.1f}-{ratio['highest']:.1f}){busy}"
        )
    facts = {"scale": arguments.scale, "machine": platform.machine(), "torch": torch.__version__, "parameters": parameters}
    write_report(arguments.json, {**facts, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
