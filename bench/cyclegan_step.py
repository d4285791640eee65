"""A training step of our CycleGAN beside the published step in plain torch (bench/plain_cyclegan.py): the same losses and weights, at what cost?

    python -m bench.cyclegan_step                       # smoke scale: 64 px, a quarter of the width
    python -m bench.cyclegan_step --scale std           # 128 px, full width; on a GPU 256 px

First both take three steps from the same weights on the same pictures, and losses and weights must agree; without that no time is given. Then the
sides take turns, the first round is dropped, and ratios are of CPU time (of wall time on a GPU), ours over theirs, round by round. `graph_mib` is the
most memory that tensors kept for a backward pass take at once; on a GPU `peak_mib` is all that was ever held. There a further case, `as_trained`, has
bfloat16 and channels last on our side and float32 on the plain one. Exits 1 when numbers disagree.
"""

import copy
import statistics
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from bench import plain_cyclegan
from bench.measuring import parser, processor, spread, write_report
from stages.reporting import SilentReporter
from training.cyclegan.domains import Domains
from training.cyclegan.options import CycleGANOptions
from training.cyclegan.train import CycleGANTraining
from training.gans.image_stream import TrainingImages
from training.gans.players import Moment
from training.loop.devices import Devices

SCALES = {
    "smoke": {"side": 64, "ngf": 16, "ndf": 16, "batch": 1, "rounds": 3},
    "std": {"side": 128, "ngf": 64, "ndf": 64, "batch": 1, "rounds": 5},
    "std on a GPU": {"side": 256, "ngf": 64, "ndf": 64, "batch": 1, "rounds": 20},
}
STEPS_COMPARED = 3
TOLERANCE = 1e-3  # relative, of losses
# Of weights, on average, as a share of how far Adam can have moved them.
WEIGHTS_TOLERANCE = 0.05


def make_training(size: dict[str, Any], device: torch.device, precision: str) -> CycleGANTraining:
    random = torch.Generator().manual_seed(0)
    sets = {name: TrainingImages(torch.randint(0, 256, (4, 3, size["side"], size["side"]), generator=random, dtype=torch.uint8)) for name in "AB"}
    options = CycleGANOptions(ngf=size["ngf"], ndf=size["ndf"], batch=size["batch"], load_size=None, precision=precision)
    return CycleGANTraining(Domains(sets, sets, {"A": "trainA", "B": "trainB"}), options, Devices(device), SilentReporter())


class Sides:
    """Both sides with the same weights. The plain one is given the pictures that ours would draw."""

    def __init__(self, size: dict[str, Any], device: torch.device, precision: str) -> None:
        self.training = make_training(size, device, precision)
        self.networks = {name: copy.deepcopy(network).to(memory_format=torch.contiguous_format) for name, network in self.training.networks.items()}
        self.moved = plain_cyclegan.optimizers(self.networks)
        self.pools = {name: plain_cyclegan.Pool() for name in ("D_A", "D_B")}
        self.drawn = 0

    def ours(self) -> dict[str, float]:
        return self.training.trainer.step().numbers()

    def plain(self) -> dict[str, float]:
        now = Moment(self.drawn * self.training.options.batch, self.drawn, 0)
        self.drawn += 1
        reals = [self.training.losses.batch(name, now) for name in "AB"]
        return plain_cyclegan.step(self.networks, self.moved, self.pools, *reals)

    def disagreement(self) -> str:
        """In words what differs after some steps; empty when nothing does."""
        for number in range(STEPS_COMPARED):
            theirs, ours = self.plain(), self.ours()
            for name, value in theirs.items():
                if abs(ours[name] - value) > TOLERANCE * abs(value):
                    return f"step {number + 1}: {name} is {ours[name]:.6g}, plainly {value:.6g}"
        bound = WEIGHTS_TOLERANCE * STEPS_COMPARED * self.training.options.lr
        for name, network in self.training.networks.items():
            for (key, one), other in zip(network.named_parameters(), self.networks[name].parameters(), strict=True):
                # A few weights whose gradient is all but nothing may step the other way; biases before a normalisation have none at all.
                if key.endswith("weight") and (gap := float((one - other).detach().abs().mean())) > bound:
                    return f"{name}.{key}: weights differ by {gap:.3g} on average"
        return ""


def kept_mib(step: Callable[[], Any]) -> float:
    """The most that tensors which wait for a backward pass take at once, during `step`."""
    # By address and size of their memory, which several may share.
    held: Counter[tuple[int, int]] = Counter()
    most = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal most
        kept, memory = tensor.detach(), tensor.untyped_storage()
        key = memory.data_ptr(), memory.nbytes()
        held[key] += 1
        weakref.finalize(kept, held.subtract, [key])
        most = max(most, sum(size for (_, size), count in held.items() if count))
        return kept

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        step()
    return most / 2**20


def compare(size: dict[str, Any], device: torch.device, precision: str = "float32") -> dict[str, Any]:
    """One case. Where both sides differ, `differs` says how and there are no times."""
    # A GPU would otherwise give convolutions of float32 ten bits, which is no way to tell whether two sides agree.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        differs = Sides(size, device, "float32").disagreement()
    if differs:
        return {"differs": differs}
    sides = Sides(size, device, precision)
    steps = {"ours": sides.ours, "plain": sides.plain}
    is_gpu = device.type == "cuda"
    result: dict[str, Any] = {"differs": "", "sides": {}}
    memory = {name: {"graph_mib": round(kept_mib(step), 1)} for name, step in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(size["rounds"] + 1):
        for name, step in steps.items():
            if is_gpu:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter() if is_gpu else time.process_time()
            step()
            if is_gpu:
                torch.cuda.synchronize()
                memory[name]["peak_mib"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
            # The first round pays for what torch sets up once.
            if number:
                times[name].append((time.perf_counter() if is_gpu else time.process_time()) - started)
    for name, seconds in times.items():
        median = statistics.median(seconds)
        result["sides"][name] = {"step_s": round(median, 4), "pairs_per_s": round(size["batch"] / median, 2), **memory[name]}
    result["ours_over_plain"] = spread([ours / plain for ours, plain in zip(times["ours"], times["plain"], strict=True)], 3)
    return result


def main() -> int:
    arguments = parser(__doc__).parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
    scale = f"{arguments.scale} on a GPU" if arguments.scale == "std" and device.type == "cuda" else arguments.scale
    size = SCALES[scale]
    cases = {"float32": compare(size, device)}
    if device.type == "cuda":
        cases["as_trained"] = compare(size, device, "auto")
    machine = torch.cuda.get_device_name() if device.type == "cuda" else processor()
    print(f"{scale}: {', '.join(f'{name} {value}' for name, value in size.items())}; torch {torch.__version__}, {machine}")
    for case, result in cases.items():
        if result["differs"]:
            print(f"{case}: {result['differs']}; no times")
            continue
        for name, row in result["sides"].items():
            print(f"{case:<11}{name:<6} {', '.join(f'{key} {value}' for key, value in row.items())}")
        ratio = result["ours_over_plain"]
        print(f"{case:<11}ours / plain {ratio['median']:.3f} ({ratio['lowest']:.3f}-{ratio['highest']:.3f}); losses and weights agree")
    write_report(arguments.json, {"scale": scale, **size, "torch": torch.__version__, "machine": machine, "cases": cases})
    return 1 if any(result["differs"] for result in cases.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
