"""How near written texts come to their references: BLEU and chrF as sacreBLEU counts them, and exact matches.

    BLEU = brevity * (p_1 p_2 p_3 p_4)^(1/4)      p_n: the share of n-grams of words that the reference has too
    chrF = the F2 of n-grams of characters, n = 1 ... 6

Both are scores of a whole split, no means over texts. Nothing is downloaded. A BLEU can be compared with another one
where both have the same signature.

A row may have several references, as a picture has several captions: what is in any of them is right, and the length
that counts is that of the nearest in length.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from ..extras import need

need("train", "sacrebleu")

METRICS: Final = ("bleu", "chrf", "exact_match")
"""The scores of written texts in `SCORES`; the first one is the one that people quote."""


References: TypeAlias = Sequence[str] | Sequence[Sequence[str]]
"""What was wanted of each row: a text, or several of which each is right."""


def bleu(references: References, hypotheses: Sequence[str]) -> float:
    """Return the BLEU of a split, 0 to 100: cased, in sacreBLEU's usual tokens (13a)."""
    return float(_bleu().corpus_score(list(hypotheses), _columns(references)).score)


def chrf(references: References, hypotheses: Sequence[str]) -> float:
    """Return the chrF2 of a split, 0 to 100; it needs no tokens, so it serves every language."""
    return float(_chrf().corpus_score(list(hypotheses), _columns(references)).score)


def exact_match(references: References, hypotheses: Sequence[str]) -> float:
    """Return the share of texts that equal their reference, or one of them, white space at the ends aside."""
    pairs = zip(_several(references), hypotheses, strict=True)
    return sum(found.strip() in map(str.strip, wanted) for wanted, found in pairs) / len(references)


def sentence_chrf(reference: str | Sequence[str], hypothesis: str) -> float:
    """Return the chrF2 of one text, 0 to 100: BLEU is 0 wherever no four words in a row are right."""
    return float(_chrf().sentence_score(hypothesis, *_several([reference])).score)


def signature(references: References = ("a",)) -> str:
    """Return what a reader must know to count the same BLEU: case, tokens, smoothing, version of sacreBLEU."""
    metric = _bleu()
    metric.corpus_score(["a"] * len(references), _columns(references))  # the number of references is part of it
    return str(metric.get_signature())


def _several(references: Any) -> list[list[str]]:
    """Return a list of references for each row."""
    return [[each] if isinstance(each, str) else list(each) for each in references]


def _columns(references: References) -> list[list[str | None]]:
    """Return the first reference of each row, then the second, and so on; None where a row has no more."""
    rows = _several(references)
    most = max(len(row) for row in rows)
    return [[row[place] if place < len(row) else None for row in rows] for place in range(most)]


def translation_scores(references: References, hypotheses: Sequence[str]) -> dict[str, float]:
    """Return each score of METRICS.

    Args:
        references: The texts that were wanted, one a row, or several.
        hypotheses: The texts that were written, in the same order.
    """
    if not references or len(references) != len(hypotheses):
        counts = f"{len(hypotheses)} texts were written and {len(references)} wanted"
        raise ValueError(f"{counts}: give one reference, and one text, for each row.")
    formulae = (bleu, chrf, exact_match)
    return {name: formula(references, hypotheses) for name, formula in zip(METRICS, formulae, strict=True)}


def _bleu() -> Any:
    from sacrebleu.metrics import BLEU  # here: who only asks for names need not wait for it

    return BLEU(force=True)  # else it warns of texts whose full stop stands alone; the score is the same


def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()
