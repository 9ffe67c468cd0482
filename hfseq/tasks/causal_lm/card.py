"""What the card of a language model says beside what every card says."""

from typing import Any, Final

from ...cards.language import LanguageArchitecture, LanguageFacts, TextFacts, TokenFacts, TrainingFacts
from ...cards.parts import cell, made, network_view, number, smallness, title
from ...cards.table import CARD, MEGABYTES, MINUTES, PARAMETERS, RESULT, SCORE, SPLIT, Column, ResultsTable, rival_text
from .facts import LanguageModelFacts, Sampling

TASK: Final = "text-generation"  # of the pipeline, and on the Hub

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


def _size(network: LanguageArchitecture) -> str:
    return f"{network.num_hidden_layers} x {network.hidden_size}"


NETWORK_AND_DATA: tuple[Column, ...] = (
    ("model", lambda facts: f"{facts.architecture.cell} {_size(facts.architecture)}"),
    ("data, tokens", lambda facts: f"{facts.data.name}, {facts.tokens.kind}"),
    SPLIT,
)
"""The first columns of README's tables of language models."""

LANGUAGE_TABLE = ResultsTable(
    "language models",
    (
        *NETWORK_AND_DATA,
        *(SCORE, RESULT),
        ("n-grams", lambda facts: rival_text(facts, facts.metric_names[0], "gram", named=True)),
        *(PARAMETERS, MINUTES, MEGABYTES),
        ("ms a token", lambda facts: f"{facts.speed.ms_per_token:.2f}"),
        CARD,
    ),
)


def language_view(facts: LanguageModelFacts) -> dict[str, Any]:
    """Gather what the template shows."""
    sampling = facts.sampling
    parameters = {"max_new_tokens": sampling.max_new_tokens, "temperature": sampling.temperature}
    return {
        **trained_view(facts, TASK, "language-model", widget=_widgets(facts), inference={"parameters": parameters}),
        "reading": _reading(facts.architecture.context),
        "sampling": _sampling(sampling),
        "seed": facts.samples[0].seed if facts.samples else facts.runs[0].seed,
        "prompt": facts.samples[0].prompt if facts.samples else facts.prompts[0],
        "answer": [f"# {line}".rstrip() for line in facts.samples[0].text.splitlines()] if facts.samples else [],
        "samples": [
            {"seed": each.seed, "lines": [f"    {line}".rstrip() for line in each.text.splitlines()]}
            for each in facts.samples
        ],
        "limits": language_limits(
            facts,
            "what it writes has the look of its texts, but neither sense nor truth.",
            "Tokens outside the vocabulary are read as one unknown token, which it is never asked to write; scores "
            "count it as a token like any other.",
        ),
    }


def trained_view(facts: LanguageFacts, task: str, tag: str, **more: Any) -> dict[str, Any]:
    """Gather what the templates of all language models show.

    Args:
        facts: Of the model.
        task: Of the pipeline, and on the Hub.
        tag: Of this kind of models.
        **more: Other keys of the metadata, see `front_matter`.
    """
    view = network_view(facts, task, tags=[tag], **more)
    return view | {
        "scores": [*view["scores"], *_other_rows(facts)],
        "tokens": _tokens(facts.tokens, facts.data),
        "architecture": _architecture(facts.architecture),
        "training": _training(facts.training),
    }


def _other_rows(facts: LanguageFacts) -> list[dict[str, str]]:
    """Write the scores of the splits beside the evaluated one."""
    return [
        {
            "title": title(facts.score_of(name)),
            "split": split,
            "text": number(facts.other_mean(split, name), facts.score_of(name)),
        }
        for split in facts.runs[0].others
        for name in facts.metric_names
    ]


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


def _architecture(network: LanguageArchitecture) -> str:
    """Write the network in a line."""
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


def language_limits(facts: LanguageFacts, look: str, unknown: str) -> list[str]:
    """Write the limits of any language model.

    Args:
        facts: Of the model.
        look: What to think of its answers, as it is small.
        unknown: What becomes of unknown tokens, where there are some.
    """
    data = facts.data
    return [
        made(facts, "from"),
        smallness(facts, None, f"{data.splits['train'].tokens:,} tokens: {look}"),
        *([unknown] if data.unknown_rate > 0 else []),
        *([_BEYOND.format(facts.training.window)] if facts.architecture.context is not None else []),
    ]
