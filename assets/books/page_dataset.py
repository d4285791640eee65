"""Build one size of the dataset of page images: on a white square, in StyleGAN zips with labels and a card.

python -m assets.books.page_dataset 1024
python -m assets.books.page_dataset 128 --workers 1
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from assets.images.dataset_config import DatasetConfig, Subject
from assets.images.dataset_program import dataset_program
from formats.tables import columns


@dataclass(frozen=True)
class PageDatasetConfig(DatasetConfig):
    """The section `page_dataset` of params.yaml: that of every image dataset, and

    fit:    squash is what DeepZine did.
    labels: what of a page becomes its class; null for none.
    """

    sizes: list[int] = field(default_factory=lambda: [1024, 128])
    canvas_px: int = 1024
    labels: Literal["item_id", "source", "licence"] | None = None


def page_subject(config: PageDatasetConfig) -> Subject:
    """What page images are. Whose pages may be used was decided when they were drawn."""
    del config
    return Subject(
        title="Book pages",
        pictures="pages of books and journals",
        tags=("books", "scans", "internet-archive"),
        columns=columns(page_id=str, item_id=str),
        names="licence, source and item",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The stage's entry point."""
    return dataset_program(__doc__, "page_dataset", PageDatasetConfig, page_subject, argv, originals="book_pages")


if __name__ == "__main__":
    sys.exit(main())
