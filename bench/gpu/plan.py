"""Which parts a campaign has, in order of importance, and how many seconds each may take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.gpu.recording import Work


@dataclass(frozen=True)
class Part:
    """weight: of its share of what time is left. most_s: more it never takes in a campaign of all parts. needs: a library it cannot do without."""

    name: str
    words: str
    weight: float
    most_s: float = 120.0
    needs: str | None = None
    module: str = ""

    def run(self, work: "Work") -> None:
        function: Callable[[Work], None] = getattr(import_module(f"bench.gpu.{self.module}"), self.name)
        function(work)


PARTS = (
    Part("kernel", "filtered leaky ReLU: the kernel against its definition and beside the plain path", 10, module="stylegan3"),
    Part("stylegan3_speed", "s/kimg, memory and power of StyleGAN3 T and R at 128 and 256 px", 20, 150, module="stylegan3"),
    Part("stylegan3_run", "a StyleGAN3 that learns ToC pictures, seen by seconds", 40, 250, module="stylegan3"),
    Part("polygpt", "PolyGPT on ZINC-like molecules", 12, module="molecules"),
    Part(
        "titles",
        "GPT-2 of 124 M parameters on titles and abstracts: tokens/s, share of the peak",
        6,
        needs="transformers",
        module="words",
    ),
    Part("sampling", "molecules a second: the project's sampling beside the loop without a cache", 2, 30, module="molecules"),
    Part("pggan", "a progressive GAN on pages", 5, module="pictures"),
    Part("cyclegan", "a CycleGAN between photographs and paintings", 5, module="pictures"),
    Part("polytao", "PolyTAO on prompts of 15 properties", 4, needs="transformers", module="molecules"),
    Part("polyvae", "PolyVAE, then PolyLDM on its latents", 5, module="molecules"),
    Part("profile", "where the time of a step goes: kernels, launches, gaps", 3, 40, module="profiles"),
)


def named(names: Sequence[str]) -> list[Part]:
    """The parts of these names in their own order, all without names. Raises ValueError for one that there is not."""
    known = {part.name: part for part in PARTS}
    for name in names:
        if name not in known:
            raise ValueError(f"--only {name}: no such part; there are {', '.join(known)}")
    return [part for part in PARTS if not names or part.name in names]


def seconds_for(part: Part, later: Sequence[Part], left_s: float, *, is_whole: bool) -> float:
    """Its share of what is left between it and the `later` ones: what a part does not use goes to those behind it. is_whole: all parts take part."""
    share = left_s * part.weight / (part.weight + sum(other.weight for other in later))
    return max(0.0, min(share, part.most_s) if is_whole else share)
