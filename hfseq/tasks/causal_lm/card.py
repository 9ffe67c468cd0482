"""What the card of a language model says beside what every card says."""

from typing import Any, Final

from ...cards.parts import BIASES, cell, front_matter, number, result, score_text, slug, term_limits, title
from .facts import LanguageFacts, LanguageModelFacts, Sampling, TextFacts, TokenFacts, TrainingFacts

TASK: Final = "text-generation"
"""Of the pipeline, and on the Hub."""

_KINDS = {
    "char": "characters",
    "word_with_space": "words",
    "whitespace": "words",
    "bpe": "pieces of words (BPE)",
    "unigram": "pieces of words (unigram)",
}
_DOCUMENTS = {"rows": "text", "lines": "line", "whole": "running text"}
_BEYOND = "Trained on windows of {} tokens: longer texts, read or written, are beyond what it has learnt."
_CARRIED = {
    "stream": "the state runs on from window to window and from document to document",
    "document": "the state runs on from window to window and starts anew with each document",
    "none": "every window starts without a state",
}


def language_view(facts: LanguageModelFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    return {
        "front_matter": _front_matter(facts),
        "task": TASK,
        "scores": score_rows(facts),
        "reading": _reading(facts.architecture.context),
        **trained_view(facts),
        "sampling": _sampling(facts.sampling),
        "seed": facts.samples[0].seed if facts.samples else facts.runs[0].seed,
        "prompt": facts.samples[0].prompt if facts.samples else facts.prompts[0],
        "answer": [f"# {line}".rstrip() for line in facts.samples[0].text.splitlines()] if facts.samples else [],
        "samples": [
            {"seed": each.seed, "lines": [f"    {line}".rstrip() for line in each.text.splitlines()]}
            for each in facts.samples
        ],
        "limits": _limits(facts),
        "citations": facts.citations,
    }


def trained_view(facts: LanguageFacts) -> dict[str, str]:
    """Say in lines how any language model was made."""
    return {
        "tokens": _tokens(facts.tokens, facts.data),
        "architecture": _architecture(facts),
        "training": _training(facts.training),
    }


def language_metadata(facts: LanguageFacts, task: str, tag: str, **more: Any) -> str:
    """Write the metadata of any language model.

    Args:
        facts: Of the model.
        task: Of the pipeline.
        tag: Of this kind of models.
        **more: See `front_matter`.
    """
    about = {
        "task_type": task,
        "dataset_type": facts.data.hub_id or slug(facts.data.name),
        "dataset_name": facts.data.name,
        "dataset_split": facts.data.evaluated_split,
    }
    return front_matter(
        facts,
        task=task,
        tags=[facts.architecture.family, tag],
        hub_id=facts.data.hub_id,
        results=[result(facts, metric, **about) for metric in facts.metric_names],
        **more,
    )


def _front_matter(facts: LanguageModelFacts) -> str:
    return language_metadata(
        facts,
        TASK,
        "language-model",
        widget=_widgets(facts),
        inference={
            "parameters": {
                "max_new_tokens": facts.sampling.max_new_tokens,
                "temperature": facts.sampling.temperature,
            }
        },
    )


def _widgets(facts: LanguageModelFacts) -> list[dict[str, Any]]:
    """Show each prompt with what the first seed made of it; without, where nothing may be shown."""
    answers: dict[str, str] = {}
    for sample in facts.samples:
        answers.setdefault(sample.prompt, sample.text)
    return [
        {"text": prompt, "output": {"text": answers[prompt]}} if prompt in answers else {"text": prompt}
        for prompt in facts.prompts
        if prompt  # the Hub has no button for an empty one
    ]


def score_rows(facts: LanguageFacts) -> list[dict[str, str]]:
    """Write the scores of the evaluated split, then those of the others."""
    rows = [
        {
            "title": title(facts.score_of(name)),
            "split": facts.data.evaluated_split,
            "text": score_text(facts, name),
        }
        for name in facts.metric_names
    ]
    for split in facts.runs[0].others:
        rows += [
            {
                "title": title(facts.score_of(name)),
                "split": split,
                "text": number(facts.other_mean(split, name), facts.score_of(name)),
            }
            for name in facts.metric_names
        ]
    return rows


def _reading(context: int | None) -> str:
    """Say how much of the text before a token a model sees that cannot see all of it; see `score_ids`."""
    if context is None:
        return ""
    stride = (context + 1) // 2
    return (
        f"It reads windows of {context} tokens, each {stride} after the last, so that a token is predicted from the "
        f"{context - stride} tokens before it or more, up to {context}, where the text has them."
    )


def _tokens(tokens: TokenFacts, data: TextFacts) -> str:
    """Say what a token is, and which of them no text holds."""
    document = _DOCUMENTS[data.documents]
    written = {
        (True, True): f"every {document} begins with `<s>` and ends with `</s>`",
        (True, False): f"every {document} begins with `<s>`",
        (False, True): f"every {document} ends with `</s>`, which is predicted as any other token",
        (False, False): "nothing marks where a text begins or ends",
    }[tokens.writes_start, tokens.writes_end]
    return ", ".join(
        [
            f"{_KINDS[tokens.kind]}{', lower-cased' if tokens.lowercase else ''}",
            f"{tokens.vocabulary_size:,} different ones",
            f"{100 * data.unknown_rate:.2f} % of those of {data.evaluated_split} are unknown; {written}",
        ]
    )


def _architecture(facts: LanguageFacts) -> str:
    """Write the network in a line."""
    network = facts.architecture
    options = ", ".join(f"{name} {cell(value)}" for name, value in network.options.items())
    parts = [
        network.cell,
        f"{network.num_hidden_layers} layer{'s' if network.num_hidden_layers > 1 else ''}",
        f"width {network.hidden_size}",
        f"embeddings of {network.embedding_size}" + (", which are the output weights too" if network.tied else ""),
        f"`{options}`" if options else "",
        "" if network.context is None else f"made for texts of up to {network.context} tokens",
    ]
    return ", ".join(filter(None, parts))


def _training(training: TrainingFacts) -> str:
    """Write the training in a line."""
    return ", ".join(
        [
            f"{training.epochs:g} epoch{'s' if training.epochs != 1 else ''}",
            f"updates of {training.batch_size} x {training.window} tokens",
            f"{training.optimizer} with learning rate {training.learning_rate:g}",
            _CARRIED[training.carry],
        ]
    )


def _sampling(sampling: Sampling) -> str:
    """Say how tokens were drawn."""
    drawn = f"from the {sampling.top_k} likeliest tokens" if sampling.top_k else "from all tokens"
    return f"drawn {drawn} at temperature {sampling.temperature:g}, at most {sampling.max_new_tokens} new ones"


def _limits(facts: LanguageModelFacts) -> list[str]:
    """Write the limits that follow from the facts, then those that were given."""
    return language_limits(
        facts,
        "what it writes has the look of its texts, but neither sense nor truth.",
        "Tokens outside the vocabulary are read as one unknown token, which it is never asked to write; scores count "
        "it as a token like any other.",
    )


def language_limits(facts: LanguageFacts, smallness: str, unknown: str) -> list[str]:
    """Write the limits of any language model.

    Args:
        facts: Of the model.
        smallness: What follows from its size.
        unknown: What becomes of unknown tokens, where there are some.
    """
    data, context = facts.data, facts.architecture.context
    limits = [
        f"Made from {data.domain} in the language `{facts.language}`; measured on nothing else.",
        f"A small model ({facts.parameters:,} parameters), trained from scratch on "
        f"{data.splits['train'].tokens:,} tokens: {smallness}",
        *([unknown] if data.unknown_rate > 0 else []),
        *([_BEYOND.format(facts.training.window)] if context is not None else []),
    ]
    return [*limits, BIASES, *term_limits(facts, data.restriction), *facts.limits]
