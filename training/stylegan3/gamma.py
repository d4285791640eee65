"""The weight of the gradient penalty, gamma, from resolution and batch, for those who leave it open.

Source: the published settings of StyleGAN3-T, gamma 0.5, 2, 8 and 32 at 128, 256, 512 and 1024 pixels with batch 32 (Karras et al. 2021). A smaller
batch wants a larger gamma, as in the rule of StyleGAN2-ADA, 0.0002 · pixels² / batch (Karras et al. 2020). Neither replaces a scan by ×¼, ×½, ×2 and
×4 on one's own images.
"""

_GAMMA_AT_128_PX, _AT_BATCH = 0.5, 32


def default_gamma(resolution: int, batch: int) -> float:
    """Gamma for images of `resolution` pixels and `batch` images an iteration over all processes."""
    if resolution < 1 or batch < 1:
        raise ValueError(f"resolution and batch must be at least 1, found {resolution} and {batch}")
    # Four times as much for twice the resolution.
    return _GAMMA_AT_128_PX * (resolution / 128) ** 2 * _AT_BATCH / batch
