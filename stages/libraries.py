"""Which libraries decide the bytes of an artifact, and which releases of them are installed. Only their metadata is read; none is imported."""

from collections.abc import Mapping

# Import name -> distribution. A library is here when the same call in another release may write other bytes or compute other numbers.
BYTE_DECIDING: Mapping[str, str] = {
    "PIL": "pillow",
    "av": "av",
    "fcd_torch": "fcd_torch",
    "isal": "isal",
    "lxml": "lxml",
    "matplotlib": "matplotlib",
    "nltk": "nltk",
    "numpy": "numpy",
    "parsel": "parsel",
    "pyarrow": "pyarrow",
    "rdkit": "rdkit",
    "rouge_score": "rouge-score",
    "sacrebleu": "sacrebleu",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "transformers": "transformers",
}


def installed_version(distribution: str) -> str | None:
    """The release of `distribution` in this environment, or None. A build suffix is left out: `2.13.0+cpu` and `2.13.0+cu130` are one
    release, and on which of them a training runs is the launcher's choice, never part of an identity.
    """
    import importlib.metadata

    try:
        return importlib.metadata.version(distribution).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None
