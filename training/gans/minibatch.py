"""What a discriminator is told of a batch as a whole, so that it can see a lack of variety."""

from torch import Tensor


def minibatch_deviation(x: Tensor, *, group: int) -> Tensor:
    """One map [B, 1, H, W]: how much the pictures of a group differ, so that D can see a lack of variety.

    Pictures b, b + B / G, b + 2 B / G … form a group of G: the largest divisor of B that is at most `group`.
    Source: Karras et al. 2018, section 3; groups: Karras et al. 2020 (StyleGAN2).
    """
    # The deviation of every feature at every place over the group, averaged to one number a group.
    B, C, H, W = x.shape
    size = next(size for size in range(min(group, B), 0, -1) if B % size == 0)
    grouped = x.reshape(size, B // size, C, H, W)
    deviation = (grouped.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return deviation.repeat(size).view(B, 1, 1, 1).expand(B, 1, H, W)
