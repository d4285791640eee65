"""The weight of the gradient penalty, gamma, from resolution and batch, for those who leave it open.

Source: the published settings of StyleGAN3-T, gamma 0.5, 2, 8 and 32 at 128, 256, 512 and 1024 pixels with batch 32 (Karras et al. 2021), and the
rule of StyleGAN2-ADA, 0.0002 · pixels² / batch (Karras et al. 2020). A smaller batch wants a larger gamma. Neither replaces a scan by ×¼, ×½, ×2
and ×4 on one's own images.
"""

from typing import Literal

Rule = Literal["stylegan3", "stylegan2-ada"]

_GAMMA_AT_128_PX, _AT_BATCH = 0.5, 32


def default_gamma(resolution: int, batch: int, *, rule: Rule = "stylegan3") -> float:
    """Gamma for images of `resolution` pixels and `batch` images an iteration over all processes. Raises ValueError for a rule it does not know."""
    if resolution < 1 or batch < 1:
        raise ValueError(f"resolution and batch must be at least 1, found {resolution} and {batch}")
    if rule == "stylegan3":
        # Four times as much for twice the resolution.
        return _GAMMA_AT_128_PX * (resolution / 128) ** 2 * _AT_BATCH / batch
    if rule == "stylegan2-ada":
        return 0.0002 * resolution**2 / batch
    raise ValueError(f"the rule for gamma must be stylegan3 or stylegan2-ada, found {rule!r}")
