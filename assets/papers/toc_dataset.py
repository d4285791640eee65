"""Build one size of the dataset of table-of-contents images: padded to a white square, never stretched, in StyleGAN zips with labels and a card.

python -m assets.papers.toc_dataset 512
python -m assets.papers.toc_dataset 128 --workers 1
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assets.images.dataset_config import DatasetConfig, Subject
from assets.images.dataset_program import dataset_program
from formats.tables import columns


@dataclass(frozen=True)
class TocDatasetConfig(DatasetConfig):
    """The section `toc_dataset` of params.yaml: that of every image dataset, and

    labels:                  what of a picture's first paper becomes its class; null for none.
    respect_tdm_reservation: leave out what its publisher reserves from text and data mining.
    """

    padding: Literal["white"] = "white"
    labels: Literal["journal", "year", "source", "licence"] | None = None
    respect_tdm_reservation: bool = True


def toc_subject(config: TocDatasetConfig) -> Subject:
    """What table-of-contents images are, and which of them may be used."""

    def refusal(row: Mapping[str, Any]) -> tuple[str, str] | None:
        is_reserved = config.respect_tdm_reservation and row.get("tdm_reserved")
        return ("tdm_reserved", "its publisher reserves text and data mining") if is_reserved else None

    return Subject(
        title="Table-of-contents images",
        pictures="graphical abstracts of scientific papers",
        tags=("chemistry", "graphical-abstracts"),
        columns=columns(paper_ids=list[str]),
        names="licence, source and papers",
        refusal=refusal,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return dataset_program(__doc__, "toc_dataset", TocDatasetConfig, toc_subject, argv, originals="toc_images")


if __name__ == "__main__":
    sys.exit(main())
