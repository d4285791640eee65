"""Which parts a campaign has, in order of importance, and how many seconds each may take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.gpu.recording import Work


@dataclass(frozen=True)
class Part:
    """`name` is a function of bench/gpu/`module`.py. seconds: of a campaign of nine minutes. needs: a library it cannot do without."""

    name: str
    module: str
    seconds: float
    words: str
    needs: str | None = None

    def run(self, work: "Work") -> None:
        function: Callable[[Work], None] = getattr(import_module(f"bench.gpu.{self.module}"), self.name)
        function(work)


PARTS = (
    Part("kernel", "stylegan3", 35, "filtered leaky ReLU: the kernel against its definition and beside the plain path"),
    Part("stylegan3_speed", "stylegan3", 75, "s/kimg, memory and power of StyleGAN3 T and R at 128 and 256 px"),
    Part("stylegan3_run", "stylegan3", 240, "a StyleGAN3 that learns ToC pictures, seen by seconds"),
    Part("polygpt", "molecules", 45, "PolyGPT on ZINC-like molecules"),
    Part("titles", "words", 55, "GPT-2 of 124 M parameters on titles and abstracts: tokens/s, share of the peak", needs="transformers"),
    Part("sampling", "molecules", 8, "molecules a second: the project's sampling beside the loop without a cache"),
    Part("pggan", "pictures", 17, "a progressive GAN on pages"),
    Part("cyclegan", "pictures", 17, "a CycleGAN between photographs and paintings"),
    Part("polytao", "molecules", 16, "PolyTAO on prompts of 15 properties", needs="transformers"),
    Part("polyvae", "molecules", 18, "PolyVAE, then PolyLDM on its latents"),
    Part("profile", "profiles", 10, "where the time of a step goes: kernels, launches, gaps"),
)


def named(names: Sequence[str]) -> list[Part]:
    """The parts of these names in their own order, all without names. Raises ValueError for one that there is not."""
    known = {part.name: part for part in PARTS}
    for name in names:
        if name not in known:
            raise ValueError(f"--only {name}: no such part; there are {', '.join(known)}")
    return [part for part in PARTS if not names or part.name in names]


def seconds_for(part: Part, later: Sequence[Part], left_s: float) -> float:
    """Its share of what is left between it and the `later` ones: what a part does not use goes to those behind it."""
    return max(0.0, left_s * part.seconds / (part.seconds + sum(other.seconds for other in later)))
