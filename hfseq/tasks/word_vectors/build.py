"""The parts of `recipes/word2vec.py`: its corpus, its model, and the facts of its card."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset

from ...data.corpus import WordCorpus
from ...data.phrases import Phrases
from ...models.words.word2vec import SPECIAL_TOKENS, Word2VecConfig, Word2VecModel
from ...recipe.publish import run_facts
from ...training.words.engines import chosen_engine
from ...training.words.trainer import Word2VecTrainer
from .facts import CorpusFacts, Evaluation, VectorArchitecture, VectorRun, WordVectorFacts
from .measures import nearest_words, solved_analogies
from .settings import WordVectorsSettings


def read_corpus(source: Path | Dataset | IterableDataset, settings: WordVectorsSettings) -> WordCorpus:
    """Read the text once, and once before for each pass that looks for phrases; refuse words that have no vector."""
    options, column, phrases = settings.corpus, settings.data.text_column or "text", None
    reading: dict[str, Any] = {"split": options.split, "lowercase": options.lowercase, "text_column": column}
    for _ in range(options.phrases):
        limits: dict[str, Any] = {"min_count": options.phrase_min_count, "threshold": options.phrase_threshold}
        phrases = Phrases.learn(source, phrases=phrases, **limits, **reading)
    limits = {"min_count": settings.fewest_occurrences, "max_words": options.max_words}
    corpus = WordCorpus.read(source, phrases=phrases, **limits, **reading)
    asked = settings.card.ask
    if asked and not settings.model.get("ngram_buckets") and set(asked).isdisjoint(corpus.words):
        raise ValueError(
            f"card.ask={asked} are not among the {len(corpus.words)} words of the corpus, such as "
            f"{', '.join(corpus.words[:10])}: name words that are, lower corpus.min_count, or see corpus.lowercase."
        )
    return corpus


def make_config(settings: WordVectorsSettings, corpus: WordCorpus) -> Word2VecConfig:
    """Build the configuration of the `model` section for this vocabulary."""
    return Word2VecConfig(**settings.model, vocab_size=len(corpus.words) + len(SPECIAL_TOKENS))


def card_facts(
    settings: WordVectorsSettings,
    trainer: Word2VecTrainer,
    folder: Path,
    *,
    metrics: dict[str, float],
    evaluations: dict[str, Evaluation],
) -> WordVectorFacts:
    """Gather what the card says: from the settings, from the run, and asked of the saved model, loaded back."""
    card, model = settings.card, Word2VecModel.from_pretrained(folder, trust_remote_code=False)
    state, corpus, config = trainer.state, trainer.corpus, model.config
    words_read = (state.epoch + state.position / len(corpus)) * corpus.raw_words
    run = VectorRun(
        seed=trainer.args.seed,
        metrics=metrics,
        minutes=state.seconds / 60,
        words_per_second=words_read / max(state.seconds, 1e-9),
    )
    return WordVectorFacts(
        **run_facts(card, model, folder, run),
        architecture=VectorArchitecture(
            architecture=config.architecture,
            loss=config.loss,
            hidden_size=config.hidden_size,
            window=config.window,
            negatives=config.negatives if config.loss == "negative-sampling" else 0,
            sample=float(config.sample),
            min_count=settings.fewest_occurrences(corpus.raw_words),
            buckets=config.ngram_buckets,
            # A resumed run may have had more than it now asks for.
            epochs=round(state.epoch + state.position / len(corpus), 2),
            is_cut=trainer.is_cut,
            engine=chosen_engine(trainer.args.engine, config, trainer.args.device),
            has_output=config.with_outputs,
        ),
        corpus=CorpusFacts(
            **card.data_facts(),
            hub_id=settings.data.hub_id,
            words=corpus.raw_words,
            types=corpus.raw_types,
            vocabulary=len(corpus.words),
            split=corpus.split,
            lowercase=corpus.lowercase,
            phrases=settings.corpus.phrases,
            period=card.data_period,
        ),
        evaluations=evaluations,
        neighbours=nearest_words(model.vectors, card.ask),
        analogies=solved_analogies(model.vectors, card.questions()),
        comparisons=card.published(),
    )


def report_lines(facts: WordVectorFacts) -> Iterator[str]:
    """Say of the finished vectors which words are near, how many they are, and how fast they were learnt."""
    for row in facts.neighbours:
        yield f"{row.word:15} -> " + ", ".join(f"{each.word} {each.cosine:.2f}" for each in row.nearest)
    yield (
        f"{facts.corpus.vocabulary} words of {facts.architecture.hidden_size} numbers, "
        f"{facts.runs[0].words_per_second:,.0f} words/s"
    )
    if facts.architecture.is_cut:
        yield f"the minutes were over after {facts.architecture.epochs:g} epochs"
