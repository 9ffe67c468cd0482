"""How near written texts come to their references: BLEU and chrF as sacreBLEU counts them, and exact matches.

    BLEU = brevity * (p_1 p_2 p_3 p_4)^(1/4)      p_n: the share of n-grams of words that the reference has too
    chrF = the F2 of n-grams of characters, n = 1 ... 6

Both are scores of a whole split, no means over texts. Nothing is downloaded. A BLEU can be compared with another one
where both have the same signature.
"""

from collections.abc import Sequence
from typing import Any, Final

from ..extras import need

need("train", "sacrebleu")

METRICS: Final = ("bleu", "chrf", "exact_match")
"""The scores of written texts in `SCORES`; the first one is the one that people quote."""


def bleu(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return the BLEU of a split, 0 to 100: cased, in sacreBLEU's usual tokens (13a)."""
    return float(_bleu().corpus_score(list(hypotheses), [list(references)]).score)


def chrf(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return the chrF2 of a split, 0 to 100; it needs no tokens, so it serves every language."""
    return float(_chrf().corpus_score(list(hypotheses), [list(references)]).score)


def exact_match(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return the share of texts that equal their reference, white space at the ends aside."""
    pairs = zip(references, hypotheses, strict=True)
    return sum(one.strip() == other.strip() for one, other in pairs) / len(references)


def sentence_chrf(reference: str, hypothesis: str) -> float:
    """Return the chrF2 of one text, 0 to 100: BLEU is 0 wherever no four words in a row are right."""
    return float(_chrf().sentence_score(hypothesis, [reference]).score)


def signature() -> str:
    """Return what a reader must know to count the same BLEU: case, tokens, smoothing, version of sacreBLEU."""
    metric = _bleu()
    metric.corpus_score(["a"], [["a"]])  # the number of references is part of it
    return str(metric.get_signature())


def translation_scores(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, float]:
    """Return each score of METRICS.

    Args:
        references: The texts that were wanted, one a row.
        hypotheses: The texts that were written, in the same order.
    """
    if not references or len(references) != len(hypotheses):
        counts = f"{len(hypotheses)} texts were written and {len(references)} wanted"
        raise ValueError(f"{counts}: give one reference, and one text, for each row.")
    formulae = (bleu, chrf, exact_match)
    return {name: formula(references, hypotheses) for name, formula in zip(METRICS, formulae, strict=True)}


def _bleu() -> Any:
    from sacrebleu.metrics import BLEU  # here: who only asks for names need not wait for it

    return BLEU()


def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()
