"""ROUGE-1, -2 and -L as the package rouge_score works them out, English endings taken off.

Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
"""

import math
from collections.abc import Sequence

NAMES = ("rouge1", "rouge2", "rougeL")


def rouge(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The mean F-measure by name of `NAMES`, in [0, 1]; NaN without texts. Only a-z and 0-9 count: words of other scripts are not seen."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(NAMES), use_stemmer=True)
    scores = [scorer.score(reference, hypothesis) for hypothesis, reference in zip(hypotheses, references, strict=True)]
    return {name: math.fsum(score[name].fmeasure for score in scores) / len(scores) if scores else math.nan for name in NAMES}
