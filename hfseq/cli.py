"""The command `hfseq`: which words it takes, which file of `commands/` does it, and how an error is told.

What a command needs besides the models is imported when it runs, so that help needs none of it.
"""

import argparse
import difflib
import functools
import importlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

DONE, FAILED, WRONG_WORDS, REFUSED = 0, 1, 2, 3

_NETWORKS = ("gru", "lstm", "rnn", "transformer", "custom")
MODELS = {  # task -> the values of --model; a test holds them equal to hfseq.tasks, whose import takes seconds
    "text-classification": ("auto", "bag", *_NETWORKS, "window"),
    "token-classification": (*_NETWORKS, "window", "crf"),
    "intent-slots": (*_NETWORKS, "window"),
    "language-modeling": _NETWORKS,
    "masked-language-modeling": ("transformer",),
    "word-vectors": ("skip-gram", "cbow"),
    "translation": ("seq2seq", "transformer_seq2seq"),
    "captioning": ("captioner",),
    "series": _NETWORKS,
    "trees": ("tree_lstm", "child_sum", "tree_gru", "tensor", "matrix_vector", "matrix"),
    "strokes": ("lstm", "gru", "rnn"),
}
_OVERRIDE = re.compile(r"--[^.=]+\.[^=]+=.*", re.DOTALL)

SAID = {  # what `push` may be told of a card; a test holds them equal to CARD_WORDS of cards/publishing.py
    "summary": "what the model does, one sentence",
    "language": "ISO code of the texts, such as en",
    "data_name": "name of the data",
    "data_license": "licence of the data",
    "data_domain": "what the texts are, such as film reviews",
    "license": "licence of the weights, as the Hub spells it (apache-2.0)",
}
_WITHOUT_MODELS = ("recipes", "info", "average")  # commands that read files alone
_EXITS = (
    "exit codes: 0 done; 1 it failed; 2 wrong command line; 3 refused: behind a simple peer, or a card without words"
)
_HELP = {
    "train": "train a model on your data: file, folder, Hub id or `embedded`",
    "evaluate": "measure a model on labelled data",
    "predict": "answer texts, one line of JSON each",
    "doctor": "say what is wrong with a run, in numbers, and which settings to try",
    "average": "write the mean of the weights of several checkpoints of one run",
    "recipes": "list, show or copy the recipes and their configurations",
    "card": "write the model card anew from facts.json, or check it",
    "push": "publish a trained folder on the Hub",
    "info": "say what a model is and how to use it",
    "recall": "compare how long models remember a symbol, and how their gradients flow",
}


class _Words(argparse.ArgumentParser):
    """A parser that names the command whose help explains it."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong with the command line in one line."""
        end = "" if message.endswith((".", "?")) else "."
        print(f"hfseq: {message}{end} See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(WRONG_WORDS)


@functools.cache  # while hfseq is imported: later `-m` is the path of __main__.py
def is_this_process() -> bool:
    """Tell whether the command `hfseq` runs here, as the script that pip writes or by -m."""
    name = sys.argv[0] if sys.argv else ""
    if name == "-m":  # stands there while Python looks for the module, whose name comes before the arguments
        return re.fullmatch(rf"(-\w*m)?{__package__}", sys.orig_argv[-len(sys.argv)]) is not None
    return Path(name).name in (__package__, f"{__package__}.exe")  # a user's hfseq.py is neither


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of these words, or of this process, and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser, commands = _parser()
    if words and not words[0].startswith("-") and words[0] not in commands:
        parser.error(f"{words[0]!r} is no command: {_listed(words[0], tuple(commands))}")
    options, others = parser.parse_known_args(words)
    options.overrides, options.words = others, words
    _check_words(options, commands[options.command])
    try:
        return int(_run(options) or DONE)
    except (KeyboardInterrupt, BrokenPipeError):
        return FAILED
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        else:
            told = " ".join(str(error).split()) or type(error).__name__
            print(f"hfseq {options.command}: {told} (--debug shows where)", file=sys.stderr)
        return _exit_code(error)


def _exit_code(error: Exception) -> int:
    # A module that was not imported has raised nothing; importing it now would take seconds.
    for module, name, code in (("hub", "RefusedError", REFUSED), ("settings", "SettingsError", WRONG_WORDS)):
        found = getattr(sys.modules.get(f"{__package__}.{module}"), name, None)
        if found is not None and isinstance(error, found):
            return code
    return FAILED


def _run(options: argparse.Namespace) -> int | None:
    if options.command not in _WITHOUT_MODELS and is_this_process():
        _quieten(options.debug)
        _load_models()
    module = importlib.import_module(f".commands.{options.command}", __package__)
    result: int | None = module.run(options)
    return result


def _quieten(is_debugged: bool) -> None:
    """Let bars show only in a terminal and where a step takes long; --debug shows all. Read while tqdm is imported."""
    if is_debugged:
        return
    from .progress import BARS_AFTER

    os.environ.setdefault("TQDM_DELAY", str(BARS_AFTER))  # for the bars of other libraries
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")
    logging.getLogger("transformers.tokenization_utils_base").addFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    # A text above the length limit of the training: only a model with learned positions fails, by an error of its own.
    return not str(record.msg).startswith("Token indices sequence length is longer")


def _load_models() -> None:
    """Do what `import hfseq` does everywhere else."""
    from .version import check_transformers

    check_transformers()
    from .registry import register

    register()


def _check_words(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse what can be seen to be wrong before anything heavy is imported."""
    for word in options.overrides:
        if options.command == "train" and _OVERRIDE.fullmatch(word):
            continue
        if options.command == "train" and re.fullmatch(r"--[\w-]+\.\w+", word):
            parser.error(f"{word} has no value: write {word}=VALUE")
        known = [option for action in parser._actions for option in action.option_strings]
        parser.error(f"{word!r} is not understood{_meant(word, known)}")
    if options.command != "train":
        return
    if options.model is not None and options.model not in MODELS[options.task]:
        cure = _listed(options.model, MODELS[options.task])
        parser.error(f"--model={options.model} is no model of {options.task}: {cure}")
    if options.data is None and options.config is None and not options.settings:
        parser.error("DATA is missing: give a file, a folder, a Hub id, `embedded`, or --config")


def _meant(word: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word.partition("=")[0], known, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _listed(word: str, known: Sequence[str]) -> str:
    return f"give one of {', '.join(known)}{_meant(word, known)}"


def _task(word: str) -> str:
    if word not in MODELS:
        raise argparse.ArgumentTypeError(f"{word!r} is no task: {_listed(word, tuple(MODELS))}")
    return word


def _names(word: str) -> list[str]:
    return [name.strip() for name in word.split(",")]


def _numbers(low: int) -> Callable[[str], list[int]]:
    """Return what reads whole numbers above `low` with commas between them."""
    read = _above(low, int, str(low + 10))
    return lambda word: [read(number) for number in _names(word)]


def _above(low: float, kind: type[int] | type[float], example: str) -> Callable[[str], Any]:
    """Return what reads a number above `low`."""

    def read(word: str) -> Any:
        try:
            value = kind(word)
        except ValueError:
            value = kind(low)
        if not low < value < float("inf"):
            whole = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"{word!r} must be {whole} above {low:g}, such as {example}")
        return value

    return read


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    width: Any = {"formatter_class": lambda prog: argparse.HelpFormatter(prog, max_help_position=24, width=100)}
    parser = _Words(
        prog="hfseq", description="Classic sequence models as Hugging Face models.", epilog=_EXITS, **width
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    shared = _Words(add_help=False)
    shared.add_argument("--debug", action="store_true", help="show the whole traceback of an error")
    made: dict[str, argparse.ArgumentParser] = {
        name: commands.add_parser(name, help=text, description=text, parents=[shared], allow_abbrev=False, **width)
        for name, text in _HELP.items()
    }
    _add_train(made["train"])
    _add_use(made)
    _add_doctor(made["doctor"])
    _add_average(made["average"])
    _add_publish(made)
    _add_recall(made["recall"])
    return parser, made


def _add_train(train: argparse.ArgumentParser) -> None:
    train.usage = "hfseq train TASK DATA [options] [--section.key=value ...]"
    train.epilog = "`hfseq recipes show text_classification` shows the steps; --settings lists every section and key."
    train.add_argument("task", metavar="TASK", type=_task, help=", ".join(MODELS))
    train.add_argument("data", metavar="DATA", nargs="?", help="a file, a folder, a Hub id, or `embedded`")
    train.add_argument(
        "--model",
        metavar="TYPE",
        help="auto, bag, gru, lstm, transformer ...; of word vectors skip-gram, cbow; of trees tree_lstm ...",
    )
    train.add_argument(
        "--minutes", type=_above(0, float, "5 or 0.5"), help="how long to train at most (5; of --config: what it says)"
    )
    train.add_argument("--out", metavar="FOLDER", help="where the model goes (runs/TASK-DATA)")
    train.add_argument("--config", metavar="FILE", help="a settings file, or a name of `hfseq recipes list`")
    train.add_argument(
        "--processes", type=_above(0, int, "2"), default=1, metavar="N", help="train in so many processes"
    )
    train.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    train.add_argument("--settings", action="store_true", help="list every --section.key of the task")


def _add_use(made: dict[str, argparse.ArgumentParser]) -> None:
    for name in ("evaluate", "predict", "info"):
        made[name].add_argument("model", metavar="MODEL", help="a folder or a Hub id")
    made["evaluate"].add_argument("data", metavar="DATA", help="a file, a folder, a Hub id, or `embedded`")
    made["evaluate"].add_argument("--split", default="test", help="which split of a folder or data set (test)")
    made["evaluate"].add_argument("--text-column", help="the column of texts")
    made["evaluate"].add_argument("--text-pair-column", help="the column of second texts, for a model of pairs")
    made["evaluate"].add_argument("--label-column", help="the column of labels")
    made["evaluate"].add_argument("--tree-column", help="the column of trees in brackets, for a model of trees (tree)")
    made["evaluate"].add_argument("--image-column", help="the column of pictures, for a model that describes them")
    made["evaluate"].add_argument("--caption-column", help="the column of captions, for such a model")
    made["evaluate"].add_argument("--intent-column", help="the column of intents, for a model of intents and slots")
    made["evaluate"].add_argument(
        "--target-column", help="the column of targets, for a model that writes from sources"
    )
    made["evaluate"].add_argument("--source-language", metavar="CODE", help="of dictionaries or files: en of train.en")
    made["evaluate"].add_argument("--target-language", metavar="CODE", help="the same of the targets")
    made["evaluate"].add_argument(
        "--column-names", metavar="NAME,NAME", type=_names, help="of a file without a header"
    )
    made["predict"].add_argument(
        "texts", metavar="TEXT", nargs="*", help="texts, or pictures; without any, lines of stdin"
    )
    made["predict"].add_argument("--file", metavar="FILE", help="a text a line; .jsonl: {text: ..., text_pair: ...}")


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("run", metavar="RUN", help="the folder that `hfseq train` wrote")
    doctor.add_argument(
        "--try", dest="try_", action="store_true", help="train what is suggested beside the settings as they are"
    )
    doctor.add_argument(
        "--steps", type=_above(0, int, "200"), metavar="N", help="of --try, each (those of the run, at most 200)"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")


def _add_average(average: argparse.ArgumentParser) -> None:
    average.add_argument(
        "checkpoints", metavar="FOLDER", nargs="+", help="checkpoints; with --last the folder of a run"
    )
    average.add_argument(
        "--last", type=_above(1, int, "5"), metavar="N", help="average the last N checkpoints of the run"
    )
    average.add_argument("--out", metavar="FOLDER", required=True, help="where the model goes")


def _add_recall(recall: argparse.ArgumentParser) -> None:
    recall.add_argument("--models", metavar="NAME,NAME", type=_names, help="which to compare (all)")
    recall.add_argument(
        "--distances", metavar="N,N", type=_numbers(0), default=[10, 25, 50, 100, 200], help="(10,25,50,100,200)"
    )
    recall.add_argument("--seeds", metavar="N,N", type=_numbers(-1), default=[0], help="train with each of them (0)")
    recall.add_argument(
        "--steps", metavar="N", type=_above(0, int, "500"), default=500, help="updates of each training (500)"
    )
    recall.add_argument("--flow", action="store_true", help="draw the gradients of the untrained models instead")
    recall.add_argument("--out", metavar="FOLDER", default="runs/recall", help="where the files go (runs/recall)")


def _add_publish(made: dict[str, argparse.ArgumentParser]) -> None:
    made["recipes"].add_argument("action", choices=("list", "show", "copy"))
    made["recipes"].add_argument("name", nargs="?", help="a recipe, or RECIPE/CONFIG, as `list` names them")
    made["recipes"].add_argument("folder", nargs="?", default=".", help="where `copy` puts it (here)")
    for name in ("card", "push"):
        made[name].add_argument("folder", metavar="FOLDER", help="the folder of a trained model")
    made["card"].add_argument("--check", action="store_true", help="change nothing; fail if the card is not true")
    push = made["push"]
    push.add_argument("repo_id", metavar="REPO_ID", help="user/name on the Hub")
    push.add_argument("--private", action="store_true", help="make a new repository private")
    push.add_argument("--with-code", action="store_true", help="push the model's code too")
    push.add_argument("--force", action="store_true", help="also if the model is behind a simple peer")
    said = push.add_argument_group("words that the card lacks, if nobody said them; they go into the folder, too")
    for name, text in SAID.items():
        said.add_argument(f"--{name.replace('_', '-')}", dest=f"said_{name}", metavar="TEXT", help=text)
