"""Pictures and titles that belong together: papers of `paper_texts` whose picture is in the dataset."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from formats.text_tables import SPLITS, PaperText
from training.words.captions.pictures import Pictures, varied
from training.words.examples import WordsError

IGNORED = -100  # the label of a place that is not learned


@dataclass(frozen=True)
class Pairs:
    """by_split: papers with a title and a picture that is there, by serial. set_aside: how many are not, by reason."""

    by_split: dict[str, list[PaperText]]
    set_aside: dict[str, int] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Such as `96 train, 10 valid, 14 test; set aside: 3 without_picture`."""
        found = ", ".join(f"{len(papers):,} {split}" for split, papers in self.by_split.items())
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in self.set_aside.items() if count)
        return f"{found}; set aside: {left_out or 'none'}"

    @property
    def counts(self) -> dict[str, int]:
        """`set_aside` as the summary of a training names it."""
        return {f"set_aside_{reason}": count for reason, count in self.set_aside.items()}


def join(papers: Sequence[PaperText], pictures: Container[str | None], where: str, *, allow_unknown_licence: bool = False) -> Pairs:
    """Papers with their pictures. where: names the dataset in the message of the WordsError raised when the training split has no pair."""
    by_split: dict[str, list[PaperText]] = {split: [] for split in SPLITS}
    set_aside = {"unknown_licence": 0, "without_picture": 0, "picture_not_in_dataset": 0}
    for paper in papers:
        if paper.licence == "unknown" and not allow_unknown_licence:
            set_aside["unknown_licence"] += 1
        elif paper.image_sha256 is None:
            set_aside["without_picture"] += 1
        elif paper.image_sha256 not in pictures:
            set_aside["picture_not_in_dataset"] += 1
        else:
            by_split[paper.split].append(paper)
    pairs = Pairs(by_split, set_aside)
    if not by_split["train"]:
        raise WordsError(f"{where}: no paper of the training split has its picture there ({pairs.words}); crawl more, or look at the licences")
    return pairs


def pictures_of(papers: Sequence[PaperText]) -> list[str]:
    """The pictures of the papers, each once, in their order."""
    return list(dict.fromkeys(paper.image_sha256 for paper in papers if paper.image_sha256 is not None))


class TitledPictures:
    """Pairs as batches: `pixel_values` float32 [B, 3, P, P] and `labels` int64 [B, T], the title's tokens and the end, IGNORED behind it.

    max_tokens: of a title with its end; longer ones are set aside and counted in `too_long`.
    """

    def __init__(self, papers: Sequence[PaperText], pictures: Pictures, tokenizer: Any, max_tokens: int, *, least_crop: float = 1.0) -> None:
        self.pictures, self._least_crop = pictures, least_crop
        encoded = tokenizer([paper.title for paper in papers], add_special_tokens=False)["input_ids"] if papers else []
        rows = [(paper, [*ids, tokenizer.eos_token_id]) for paper, ids in zip(papers, encoded, strict=True)]
        kept = [(paper, ids) for paper, ids in rows if len(ids) <= max_tokens]
        self.papers = [paper for paper, _ in kept]
        self._ids = [ids for _, ids in kept]
        self.too_long = len(rows) - len(kept)

    def __len__(self) -> int:
        return len(self.papers)

    def lengths(self) -> list[int]:
        """Tokens of each title with its end."""
        return [len(ids) for ids in self._ids]

    def batch(self, indices: Sequence[int], random: torch.Generator) -> dict[str, Tensor]:
        """The pairs at these places. random: of the crops, where there are any."""
        names = [self.papers[index].image_sha256 or "" for index in indices]
        titles = [torch.tensor(self._ids[index]) for index in indices]
        labels = torch.nn.utils.rnn.pad_sequence(titles, batch_first=True, padding_value=IGNORED)
        images = [varied(self.pictures.image(name), random, least_crop=self._least_crop, flip=False) for name in names]
        return {"pixel_values": self.pictures.tensor(images), "labels": labels}
