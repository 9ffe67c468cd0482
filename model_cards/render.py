"""Model cards and README tables from measured facts.

    python model_cards/render.py merge runs/lstm_snips_seed0 runs/lstm_snips_seed1 runs/lstm_snips_seed2
    python model_cards/render.py readme

`merge` joins the runs of one configuration that differ in their seed into facts/NAME.json and renders NAME.md; the
first run is the one whose weights would be published. `readme` writes the tables between the markers of README.md from
facts/ and benchmarks/results/, and the line `# Expected:` of the configurations. Both know every kind of model.
"""

import argparse
import dataclasses
import json
import re
import shlex
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from hfseq.cards.facts import CardFacts, Facts
from hfseq.cards.parts import number, title
from hfseq.cards.render import load_facts, render_card
from hfseq.tasks.causal_lm.facts import LanguageModelFacts
from hfseq.tasks.masked_lm.facts import MaskedModelFacts
from hfseq.tasks.tagging.facts import TaggerFacts
from hfseq.tasks.word_vectors.facts import WordVectorFacts

HERE = Path(__file__).parent
ROOT = HERE.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"

# What a run measures anew; all else is equal in runs that differ in their seed alone.
MEASURED = {
    *("runs", "speed", "environment", "comparisons", "file_mb", "command"),
    *("examples", "widgets", "kinds", "neighbours", "analogies", "samples"),
}
OF_ONE_RUN = ("--training.seed=", "--training.output_dir=")
WORD_METRICS = ("analogy_accuracy", "wordsim353", "simlex999", "men", "rare_words")
"""The columns of README's table of word vectors."""


def configuration(facts: Facts) -> dict[str, Any]:
    """The facts that do not depend on the seed, the folder, the machine or the time."""
    kept = {name: value for name, value in facts.to_dict().items() if name not in MEASURED}
    words = [word for word in shlex.split(facts.command) if not word.startswith(OF_ONE_RUN)]
    return {**kept, "command": words}


def merge(folders: Iterable[Path]) -> Facts:
    """One card's facts from the runs in these folders, which may differ in seed, time and place alone."""
    first, *others = [load_facts(folder / "facts.json") for folder in folders]
    expected = configuration(first)
    for other in others:
        if type(other) is not type(first):
            raise ValueError(f"{other.command!r} made another kind of model than {first.command!r}.")
        if different := [name for name, value in configuration(other).items() if value != expected[name]]:
            raise ValueError(
                f"{other.command!r} is another configuration than {first.command!r}, by {', '.join(different)}: only "
                "runs that differ in their seed make one card."
            )
    return dataclasses.replace(cast(Any, first), runs=[run for facts in (first, *others) for run in facts.runs])


def save(facts: Facts) -> None:
    """Write facts/NAME.json and NAME.md."""
    facts.save(HERE / "facts" / f"{facts.name}.json")
    (HERE / f"{facts.name}.md").write_text(render_card(facts), encoding="utf-8")


def result_of(facts: Facts, metric: str) -> str:
    """A score over the seeds: `97.3 ± 0.7 (0, 1, 2)`."""
    seeds = ", ".join(str(run.seed) for run in facts.runs)
    return f"{spread_of(facts, metric)} ({seeds})"


def spread_of(facts: Facts, metric: str) -> str:
    """A score over the seeds, `97.3 ± 0.7`, or `-` if it was not measured."""
    if metric not in facts.metric_names:
        return "-"
    values = [run.metrics[metric] for run in facts.runs]
    spread = f" ± {number(statistics.stdev(values), facts.score_of(metric))}" if len(values) > 1 else ""
    return number(statistics.mean(values), facts.score_of(metric)) + spread


def mean_minutes(facts: Facts) -> float:
    """How long a run took."""
    return statistics.mean(run.minutes for run in facts.runs)


def minutes_of(facts: Facts) -> str:
    """`mean_minutes` to a tenth; a run that rounds to none did take some time."""
    minutes = f"{mean_minutes(facts):.1f}"
    return "< 0.1" if minutes == "0.0" else minutes


def recipe_row(facts: CardFacts) -> str:
    """A card in a row: what was run, how good, how long, how big, how fast."""
    metric = facts.metric_names[0]
    score = facts.score_of(metric)
    bags = [row for row in facts.comparisons if row.name.startswith("Bag of words") and row.metric == metric]
    words = number(bags[0].value, score) if bags else "-"
    return (
        f"| {facts.architecture.cell} | {facts.data.name} | {title(score)} "
        f"| {result_of(facts, metric)} | {words} | {minutes_of(facts)} "
        f"| {facts.file_mb:.1f} | {facts.speed.ms_per_text:.1f} | {facts.speed.texts_per_second:,.0f} "
        f"| {link(facts)} |"
    )


def tagger_row(facts: TaggerFacts) -> str:
    """A card of a tagger in a row."""
    metric = facts.metric_names[0]
    score = facts.score_of(metric)
    (baseline,) = (row.value for row in facts.comparisons if row.name == "Most frequent tag of each word")
    return (
        f"| {facts.architecture.cell} | {facts.data.name} | {title(score)} | {result_of(facts, metric)} "
        f"| {number(baseline, score)} | {minutes_of(facts)} | {facts.file_mb:.1f} | {facts.speed.ms_per_text:.1f} "
        f"| {facts.speed.texts_per_second:,.0f} | {link(facts)} |"
    )


def word_vectors_row(facts: WordVectorFacts) -> str:
    """A card of word vectors in a row."""
    seeds = ", ".join(str(run.seed) for run in facts.runs)
    scores = " | ".join(spread_of(facts, metric) for metric in WORD_METRICS)
    name = f"{facts.architecture.architecture}{' with n-grams' if facts.architecture.buckets else ''}"
    return (
        f"| {name}, {facts.architecture.loss} ({seeds}) | {facts.corpus.name} "
        f"| {facts.architecture.hidden_size} | {scores} | {minutes_of(facts)} "
        f"| {facts.words_per_second:,.0f} | {facts.file_mb:.1f} | {link(facts)} |"
    )


def language_row(facts: LanguageModelFacts) -> str:
    """A card of a language model in a row."""
    network, metric = facts.architecture, facts.metric_names[0]
    score = facts.score_of(metric)
    counted = [row for row in facts.comparisons if "gram" in row.name and row.metric == metric]
    baseline = f"{number(counted[-1].value, score)} ({counted[-1].name})" if counted else "-"
    return (
        f"| {network.cell} {network.num_hidden_layers} x {network.hidden_size} "
        f"| {facts.data.name}, {facts.tokens.kind} "
        f"| {facts.data.evaluated_split} | {score.title} | {result_of(facts, metric)} | {baseline} "
        f"| {facts.parameters:,} | {minutes_of(facts)} | {facts.file_mb:.1f} | {facts.speed.ms_per_token:.2f} "
        f"| {link(facts)} |"
    )


def masked_row(facts: MaskedModelFacts) -> str:
    """A card of a masked language model in a row."""
    network = facts.architecture
    guessed = {row.metric: row.value for row in facts.comparisons if row.name.startswith("Unigram")}
    scores = [
        f"{result_of(facts, metric)} | {number(guessed[metric], facts.score_of(metric))}"
        for metric in facts.metric_names
    ]
    return (
        f"| {network.cell} {network.num_hidden_layers} x {network.hidden_size} "
        f"| {facts.data.name}, {facts.tokens.kind} | {facts.data.evaluated_split} | {' | '.join(scores)} "
        f"| {facts.parameters:,} | {minutes_of(facts)} | {facts.file_mb:.1f} | {facts.speed.ms_per_text:.1f} "
        f"| {link(facts)} |"
    )


def link(facts: Facts) -> str:
    """A link to the card."""
    return f"[{facts.name}](model_cards/{facts.name}.md)"


def recipe_table(every: Iterable[CardFacts]) -> str:
    """A row for each card, then the command of each."""
    rows = sorted(every, key=lambda facts: (facts.data.name, facts.architecture.family, facts.name))
    head = "| model | data | score | mean ± sd (seeds) | bag of words | minutes | MB | ms a text | texts/s | card |"
    return "\n".join([*table(head, map(recipe_row, rows)), *commands_of(rows)])


def tagger_table(every: Iterable[TaggerFacts]) -> str:
    """A row for each card of a tagger, then the command of each; a sentence while there is none."""
    rows = sorted(every, key=lambda facts: (facts.data.name, facts.architecture.family, facts.name))
    if not rows:
        return "No taggers have been measured yet."
    head = (
        "| model | data | score | mean ± sd (seeds) | most frequent tag | minutes | MB | ms a text | texts/s | card |"
    )
    return "\n".join([*table(head, map(tagger_row, rows)), *commands_of(rows)])


def word_vectors_table(every: Iterable[WordVectorFacts]) -> str:
    """A row for each card of word vectors, then the command of each; a sentence while there is none."""
    rows = sorted(every, key=lambda facts: (facts.corpus.name, facts.architecture.architecture, facts.name))
    if not rows:
        return "No word vectors have been measured yet."
    head = (
        "| model (seeds) | corpus | dimension | analogies (%) | WS-353 | SimLex | MEN | RW | minutes | words/s | MB "
        "| card |"
    )
    return "\n".join([*table(head, map(word_vectors_row, rows)), *commands_of(rows)])


def language_table(every: Iterable[LanguageModelFacts]) -> str:
    """A row for each card of a language model, then the command of each; a sentence while there is none."""
    rows = sorted(every, key=lambda facts: (facts.data.name, facts.architecture.family, facts.name))
    if not rows:
        return "No language models have been measured yet."
    head = (
        "| model | data, tokens | split | score | mean ± sd (seeds) | n-grams | parameters | minutes | MB "
        "| ms a token | card |"
    )
    return "\n".join([*table(head, map(language_row, rows)), *commands_of(rows)])


def masked_table(every: Iterable[MaskedModelFacts]) -> str:
    """A row for each card of a masked language model, then the command of each; a sentence while there is none."""
    rows = sorted(every, key=lambda facts: (facts.data.name, facts.architecture.family, facts.name))
    if not rows:
        return "No masked language models have been measured yet."
    head = (
        "| model | data, tokens | split | accuracy on hidden tokens (%), mean ± sd (seeds) | commonest token "
        "| perplexity on them | commonest token | parameters | minutes | MB | ms a text | card |"
    )
    return "\n".join([*table(head, map(masked_row, rows)), *commands_of(rows)])


def table(head: str, rows: Iterable[str]) -> list[str]:
    """The lines of a table."""
    return [head, "|" + "---|" * (head.count("|") - 1), *rows]


def commands_of(rows: Sequence[Facts]) -> list[str]:
    """The lines that tell how the rows of a table were made."""
    return [
        "",
        "The commands of the first seed, row by row; the other seeds differ in `--training.seed` and",
        "`--training.output_dir` alone:",
        "",
        "```bash",
        *(facts.command for facts in rows),
        "```",
    ]


def benchmark_table() -> str:
    """A row for each measured ratio."""
    rows: list[str] = []
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        source = f"`{result['command']}`"
        rows += [
            f"| {row['claim']} | {peer} | {row['goal']:.2f} | **{row['ratio']:.2f}** | {source} |"
            for row in result["rows"]
            for peer in [row.get("peer", result["peer"])]
        ]
    return "\n".join(table("| claim | peer | goal | ratio | command |", rows))


def published() -> list[Facts]:
    """The facts of every card."""
    return [load_facts(path) for path in sorted((HERE / "facts").glob("*.json"))]


def readme_with_tables(text: str) -> str:
    """README's text with its tables, and the commands that made their rows, made anew between their markers."""
    every = published()
    tables = {
        "recipes": recipe_table(facts for facts in every if isinstance(facts, CardFacts)),
        "taggers": tagger_table(facts for facts in every if isinstance(facts, TaggerFacts)),
        "word vectors": word_vectors_table(facts for facts in every if isinstance(facts, WordVectorFacts)),
        "language models": language_table(facts for facts in every if isinstance(facts, LanguageModelFacts)),
        "masked language models": masked_table(facts for facts in every if isinstance(facts, MaskedModelFacts)),
        "benchmarks": benchmark_table(),
    }
    for name, made in tables.items():
        start, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md needs the line {start.strip()!r} and, after it, {end!r}, once each.")
        before, rest = text.split(start)
        text = before + start + made + "\n" + end + rest.split(end)[1]
    return text


def expectation(facts: Facts) -> str:
    """What a run is expected to score."""
    if isinstance(facts, CardFacts | TaggerFacts | LanguageModelFacts | MaskedModelFacts):
        metric = facts.metric_names[0]
        return f"{facts.score_of(metric).title.lower()} {result_of(facts, metric)} on {facts.data.evaluated_split}"
    scores = [f"{facts.score_of(metric).title} {result_of(facts, metric)}" for metric in facts.metric_names]
    return "; ".join(scores) or "no score, as no test set is given"


def with_expectation(configuration: str, facts: Facts) -> str:
    """The text of a YAML file with its line `# Expected:` made anew."""
    line = (
        f"# Expected: {expectation(facts)}, {minutes_of(facts)} minutes of training; "
        f"data and command of the measurement: model_cards/{facts.name}.md"
    )
    new, count = re.subn(r"^# Expected: .*$", line, configuration, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"the configuration of {facts.name} needs one line that begins with '# Expected: '.")
    return new


def configurations() -> dict[Path, Facts]:
    """The YAML file of each card."""
    return {ROOT / shlex.split(facts.command)[3]: facts for facts in published()}


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("merge").add_argument("folders", nargs="+", type=Path)
    commands.add_parser("readme")
    arguments = parser.parse_args()
    if arguments.command == "merge":
        save(merge(arguments.folders))
    else:
        README.write_text(readme_with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
        for path, facts in configurations().items():
            path.write_text(with_expectation(path.read_text(encoding="utf-8"), facts), encoding="utf-8")


if __name__ == "__main__":
    main()
