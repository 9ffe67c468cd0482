"""The command `hfseq`: which words it takes, which file of `commands/` does it, and how an error is told.

What a command needs besides the models is imported when it runs, so that help needs none of it.
"""

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

DONE, FAILED, WRONG_WORDS, REFUSED = 0, 1, 2, 3

TASKS = (  # a test holds them equal to the rows of hfseq.tasks, whose import takes seconds
    "text-classification",
    "token-classification",
    "language-modeling",
    "masked-language-modeling",
    "word-vectors",
)

_EXITS = "exit codes: 0 done; 1 it failed; 2 wrong command line; 3 refused, as the model is behind a simple peer"
_HELP = {
    "train": "train a model on your data: file, folder, Hub id or `embedded`",
    "evaluate": "measure a model on labelled data",
    "predict": "answer texts, one line of JSON each",
    "recipes": "list, show or copy the recipes and their configurations",
    "card": "write the model card anew from facts.json, or check it",
    "push": "publish a trained folder on the Hub",
    "info": "say what a model is and how to use it",
}


class _Words(argparse.ArgumentParser):
    """A parser that names the command whose help explains it."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong with the command line in one line."""
        print(f"hfseq: {message}. See `{self.prog} --help`.", file=sys.stderr)
        raise SystemExit(WRONG_WORDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command of these words, or of this process, and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    options, others = parser.parse_known_args(words)
    options.overrides = others
    if others and options.command != "train":
        parser.error(f"{others[0]!r} is not understood")
    options.words = words
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
        from .hub import BehindError

        return REFUSED if isinstance(error, BehindError) else FAILED


def _run(options: argparse.Namespace) -> int | None:
    module = importlib.import_module(f".commands.{options.command}", __package__)
    result: int | None = module.run(options)
    return result


def _parser() -> argparse.ArgumentParser:
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
    _add_publish(made)
    return parser


def _add_train(train: argparse.ArgumentParser) -> None:
    train.usage = "hfseq train TASK DATA [options] [--section.key=value ...]"
    train.epilog = "`hfseq recipes show text_classification` shows the steps; --settings lists every section and key."
    train.add_argument("task", metavar="TASK", choices=TASKS, help=", ".join(TASKS))
    train.add_argument("data", metavar="DATA", nargs="?", help="a file, a folder, a Hub id, or `embedded`")
    train.add_argument("--model", metavar="TYPE", help="auto, bag, gru, lstm, rnn, transformer ...")
    train.add_argument("--minutes", type=float, help="how long to train at most (5; of --config: what it says)")
    train.add_argument("--out", metavar="FOLDER", help="where the model goes (runs/TASK-DATA)")
    train.add_argument("--config", metavar="FILE", help="a settings file, or a name of `hfseq recipes list`")
    train.add_argument("--processes", type=int, default=1, metavar="N", help="train in so many processes")
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
    made["predict"].add_argument("texts", metavar="TEXT", nargs="*", help="texts; without any, lines of stdin")
    made["predict"].add_argument("--file", metavar="FILE", help="a text a line; .jsonl: {text: ..., text_pair: ...}")


def _add_publish(made: dict[str, argparse.ArgumentParser]) -> None:
    made["recipes"].add_argument("action", choices=("list", "show", "copy"))
    made["recipes"].add_argument("name", nargs="?", help="a recipe, or RECIPE/CONFIG, as `list` names them")
    made["recipes"].add_argument("folder", nargs="?", default=".", help="where `copy` puts it (here)")
    for name in ("card", "push"):
        made[name].add_argument("folder", metavar="FOLDER", help="the folder of a trained model")
    made["card"].add_argument("--check", action="store_true", help="change nothing; fail if the card is not true")
    made["push"].add_argument("repo_id", metavar="REPO_ID", help="user/name on the Hub")
    made["push"].add_argument("--private", action="store_true", help="make a new repository private")
    made["push"].add_argument("--with-code", action="store_true", help="push the model's code too")
    made["push"].add_argument("--force", action="store_true", help="also if the model is behind a simple peer")
