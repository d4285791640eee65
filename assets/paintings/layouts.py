"""What the folder a picture lies in says of it: its domain, and whether it is to learn from or to test with.

trainA, trainB, testA, testB are those of junyanz' CycleGAN (A is what is painted in monet2photo); monet, photo, valMonet, valPhoto those of
GAN-with-JAX; monet_jpg, photo_jpg those of Kaggle's "I'm Something of a Painter Myself".
"""

from collections.abc import Sequence

# By folder name in lower case: (domain, split). No split: train where the domain has a test set in the same source, else decided later, by hash.
_FOLDERS: dict[str, tuple[str, str | None]] = {
    "traina": ("a", "train"), "trainb": ("b", "train"), "testa": ("a", "test"), "testb": ("b", "test"),
    "monet": ("a", None), "photo": ("b", None), "valmonet": ("a", "test"), "valphoto": ("b", "test"),
    "monet_jpg": ("a", None), "photo_jpg": ("b", None),
}  # fmt: skip
KNOWN = "trainA, trainB, testA, testB, monet, photo, valMonet, valPhoto, monet_jpg, photo_jpg"


def domain_and_split(folders: Sequence[str]) -> tuple[str | None, str | None]:
    """(domain, split) by the innermost of these folders that is known; (None, None) when none is."""
    return next((_FOLDERS[name.lower()] for name in reversed(folders) if name.lower() in _FOLDERS), (None, None))
