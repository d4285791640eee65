"""What the crawl raises where it does not ask, or does not take what it was given."""

from scrapy.exceptions import IgnoreRequest


class Refused(IgnoreRequest):
    """A request was not made, or its response was not taken. kind: one word for the table; words: found, expected, remedy."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind
        self.words = words
