"""What the card of a language model says beside what every card says."""

from typing import Any, Final

from ...cards.language import NETWORK_AND_DATA, language_limits, trained_view
from ...cards.parts import code, quoted
from ...cards.table import CARD, MEGABYTES, MINUTES, PARAMETERS, RESULT, SCORE, ResultsTable, rival_text
from .facts import LanguageModelFacts, Sample

TASK: Final = "text-generation"  # of the pipeline, and on the Hub
NEUTRAL: Final = "The"  # the text of the snippet where nobody gave one

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
    sampling, samples = facts.sampling, facts.samples
    parameters = {"max_new_tokens": sampling.max_new_tokens, "temperature": sampling.temperature}
    drawn = f"from the {sampling.top_k} likeliest tokens" if sampling.top_k else "from all tokens"
    drawn += f" at temperature {sampling.temperature:g}, at most {sampling.max_new_tokens} new ones"
    return {
        **trained_view(facts, TASK, "language-model", widget=_widgets(facts), inference={"parameters": parameters}),
        "reading": _reading(facts.architecture.context),
        "sampling": f"drawn {drawn}",
        "seed": samples[0].seed if samples else facts.runs[0].seed,
        "prompt": samples[0].prompt if samples else next(iter(facts.prompts), NEUTRAL),
        "answer": _lines("# ", samples[0].text) if samples else [],
        "samples": [_sample(each) for each in samples],
        "limits": language_limits(
            facts,
            "what it writes has the look of its texts, but neither sense nor truth.",
            "Tokens outside the vocabulary are read as one unknown token, which it is never asked to write; scores "
            "count it as a token like any other.",
        ),
    }


def _sample(sample: Sample) -> dict[str, Any]:
    prompt = f"Prompt {code(quoted(sample.prompt))}" if sample.prompt else "No prompt"
    return {"prompt": prompt, "seed": sample.seed, "lines": _lines("    ", sample.text)}


def _lines(start: str, text: str) -> list[str]:
    return [f"{start}{line}".rstrip() for line in text.splitlines()]


def _widgets(facts: LanguageModelFacts) -> list[dict[str, Any]] | None:
    """Show each prompt with what the first seed made of it; without, where nothing may be shown."""
    answers = {sample.prompt: {"output": {"text": sample.text}} for sample in reversed(facts.samples)}
    # The Hub has no button for an empty prompt.
    return [{"text": prompt, **answers.get(prompt, {})} for prompt in facts.prompts if prompt] or None


def _reading(context: int | None) -> str:
    """Say how much of the text before a token a model sees that cannot see all of it; see `score_ids`."""
    if context is None:
        return ""
    stride = (context + 1) // 2
    return (
        f"It reads windows of {context} tokens, each {stride} after the last, so that a token is predicted from the "
        f"{context - stride} tokens before it or more, up to {context}, where the text has them."
    )
