"""Seeds that say what they are for. No library is needed to make one, so a stage that only shuffles does not depend on torch."""

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2**63) that depends on all `parts` and nothing else: not on the process, the platform or `PYTHONHASHSEED`.

    `derive_seed(seed, "order", epoch)` gives each purpose and each epoch its own stream, so nothing has to be drawn in a fixed sequence.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
