"""Training word vectors: epochs over a corpus, with progress, checkpoints, and several processes.

    corpus = WordCorpus.read("corpus.txt")
    model = Word2VecTrainer(Word2VecConfig(vocab_size=corpus.vocab_size), corpus).train()

`train_word2vec("corpus.txt", hidden_size=100)` does both. The engine (`engines.py`) reads slices of the corpus.
Between two of them the state is whole: there checkpoints are written, and processes average their vectors.
"""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from huggingface_hub.dataclasses import strict
from tqdm.auto import tqdm
from transformers.utils import logging

from ...data.corpus import WordCorpus
from ...data.raw_corpus import Source
from ...models.words.tables import ngram_buckets
from ...models.words.word2vec import SPECIAL_TOKENS, Word2VecConfig, Word2VecModel
from ...settings import option
from ..arguments import SEVERAL_PROCESSES, check_num_processes, refuse
from ..checkpoints import agreed_checkpoint, checkpoints_in, clear_unfinished, last_of, publish, written_beside
from ..draws import OwnDraws
from .averaging import ParameterAveraging
from .engines import CorpusSlice, Engine, NumbaEngine, TorchEngine, chosen_engine, steady_block
from .options import check_options, parted

logger = logging.get_logger(__name__)

STATE_FILE = "trainer_state.json"
_CLOCK_WORDS = 300_000  # words between two looks at the clock
_NOT_TRAINED_WITH = ("output_dir", "disable_tqdm", "save_total_limit")


@strict
@dataclass
class Word2VecTrainingArguments:
    """How word vectors are trained; what is trained is in `Word2VecConfig`."""

    output_dir: str | None = option(None, "folder for checkpoints; null: keep none")
    num_train_epochs: int = option(5, "times the corpus is read")
    learning_rate: float | int = option(0.025, "at the beginning; it falls along a line")
    min_learning_rate: float | int = option(1e-4, "at the end")
    engine: Literal["auto", "block", "exact", "torch"] = option(
        "auto", "block: fast, on a CPU with numba; exact: pair by pair, as published; torch: any device"
    )
    shared_negatives: int | None = option(None, "negatives that a block of tokens shares; null: 32, of CBOW 16")
    block_size: int | None = option(None, "tokens of such a block; null: 32, fewer if the vocabulary is small")
    tokens_per_step: int = option(1024, "engine torch: tokens of one step")
    device: str | None = option(None, "engine torch: cuda, mps or cpu; null: the best")
    num_threads: int | None = option(None, "engines block and exact; null: all cores. One is deterministic")
    save_words: int | None = option(None, "words between checkpoints; null: one an epoch if there is an output_dir")
    save_total_limit: int = option(1, "checkpoints that are kept")
    average_words: int = option(300_000, "words that each of several processes reads between two averages")
    num_processes: int | None = option(None, "how many processes there must be; another number is an error")
    max_minutes: float | int | None = option(
        None, "stop after so many minutes over all launches; the learning rate falls with them, or with the epochs"
    )
    seed: int = option(42, "seed of the first vectors and of all that is drawn")
    disable_tqdm: bool = option(False, "show no progress")

    def __post_init__(self) -> None:
        """Refuse what no training could use."""
        positive = ("num_train_epochs", "tokens_per_step", "save_total_limit", "average_words")
        optional = ("save_words", "num_threads", "block_size", "shared_negatives")
        for name in (*positive, *optional):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value!r} must be 1 or more{', or null' if name in optional else ''}")
        refuse(
            (
                self.max_minutes is not None and self.max_minutes <= 0,
                f"max_minutes={self.max_minutes!r} must be above 0",
            ),
            (self.seed < 0, f"seed={self.seed!r} must be 0 or more"),
            (
                not 0 <= self.min_learning_rate <= self.learning_rate or self.learning_rate <= 0,
                f"learning_rate={self.learning_rate!r} must be above 0 and not below "
                f"min_learning_rate={self.min_learning_rate!r}",
            ),
            (self.save_words and self.output_dir is None, f"save_words={self.save_words!r} needs an output_dir"),
        )

    def join_processes(self) -> PartialState:
        """Connect to the other processes of the launch; a ValueError if they are not `num_processes`."""
        # They exchange matrices where these are: those of the CPU engines over gloo, also on a machine with GPUs.
        default = "cuda" if self.engine == "torch" and torch.cuda.is_available() else "cpu"
        processes = PartialState(cpu=torch.device(self.device or default).type != "cuda")
        cure = f"Launch with: {SEVERAL_PROCESSES.format(self.num_processes)} SCRIPT"
        check_num_processes(self.num_processes, processes.num_processes, cure)
        return processes


@dataclass
class Word2VecState:
    """How far a training is."""

    epoch: int = 0  # epochs that are over
    position: int = 0  # ids of the current epoch that have been read by all processes together
    interrupted: bool = False  # by Ctrl-C
    seconds: float = 0.0  # of training, over all launches of a resumed run
    log_history: list[dict[str, float]] = field(default_factory=list)  # of each slice; the loss is a mean over pairs


class Word2VecTrainer:
    """Train a model, or a new one of a config, on a corpus, whose vocabulary it has or gets."""

    def __init__(
        self, model: Word2VecModel | Word2VecConfig, corpus: WordCorpus, args: Word2VecTrainingArguments | None = None
    ) -> None:
        if not isinstance(corpus, WordCorpus):
            raise TypeError(f"corpus={corpus!r} must be a WordCorpus: WordCorpus.read(...) makes one")
        self.args = args or Word2VecTrainingArguments()
        self.corpus, self.state, self.processes = corpus, Word2VecState(), self.args.join_processes()
        self.is_cut = False  # whether `max_minutes` ended the training
        self.model = self._new_model(model) if isinstance(model, Word2VecConfig) else self._checked(model)
        self.model.needed_outputs("training it")
        # Each process reads the source by itself.
        digest = hashlib.sha256(f"{len(self.corpus)} {self.corpus.words}".encode()).hexdigest()
        if self._is_shared and len(set(gather_object([digest]))) > 1:
            raise ValueError("The processes read different corpora: give each the whole source, not a share of it.")

    def _new_model(self, config: Word2VecConfig) -> Word2VecModel:
        size = self.corpus.vocab_size
        if config.vocab_size != size:
            has = f"the corpus has {len(self.corpus.words)} words and {len(SPECIAL_TOKENS)} special tokens"
            raise ValueError(f"The config's vocab_size must be {size}, not {config.vocab_size}: {has}.")
        if config.ngram_buckets and not config.num_ngrams:
            shortest, longest, buckets = config.shortest_ngram, config.longest_ngram, config.ngram_buckets
            _, found = ngram_buckets(self.corpus.words, shortest=shortest, longest=longest, buckets=buckets)
            config.num_ngrams = len(found)
        with OwnDraws(self.args.seed):
            model = Word2VecModel(config)
        counts = np.concatenate([np.zeros(len(SPECIAL_TOKENS), dtype=np.int64), self.corpus.counts])
        model.set_vocabulary(self.corpus.tokenizer(), counts)
        with torch.no_grad():
            model.inputs.weight[: len(SPECIAL_TOKENS)] = 0  # they are never trained
        return model

    def _checked(self, model: Word2VecModel) -> Word2VecModel:
        if model.words != self.corpus.words:
            raise ValueError("The model's words are not the corpus's: train on the corpus it was made for, or anew.")
        if model.dtype != torch.float32:
            raise ValueError(f"The model's weights are {model.dtype}: train in float32 (model.float()).")
        return model

    def train(self, resume_from_checkpoint: bool | str | os.PathLike[str] | None = None) -> Word2VecModel:
        """Train to the end, or from a checkpoint's folder, or with True from the last one in `output_dir`.

        Ctrl-C ends it early with the vectors as they are (`state.interrupted` is then True). A resumed training of one
        thread and one process has the very numbers of one that was not interrupted.
        """
        self.state.interrupted = self.is_cut = False
        if resume_from_checkpoint:
            self._resume(resume_from_checkpoint)
        elif self.state == Word2VecState() and self.processes.is_main_process:
            self._make_room()
        engine = self.make_engine()
        averaging = None
        if self._is_shared:
            occurrences, count = _occurrences(self.model), self.processes.num_processes
            averaging = ParameterAveraging(engine.matrices, occurrences, count)
        total = self.corpus.raw_words * self.args.num_train_epochs
        # Not said where it is shown: then TQDM_DISABLE counts.
        shown = {"disable": True} if self.args.disable_tqdm or not self.processes.is_main_process else {}
        bar = tqdm(desc="word2vec", total=total, initial=self._words_done, unit="word", unit_scale=True, **shown)
        with bar:
            try:
                while self.state.epoch < self.args.num_train_epochs and not self.is_cut:
                    self._train_slice(engine, averaging, bar)
                    self.is_cut = self._ids_left() == 0 and self.state.epoch < self.args.num_train_epochs
            except KeyboardInterrupt:
                self.state.interrupted = True
                logger.warning("Interrupted: the model holds the vectors as they are now.")
        self._write_back(engine)
        for parameter in (self.model.inputs.weight, self.model.needed_outputs("training").weight):
            parameter.data = parameter.data.contiguous()  # no more a part of the engine's padded rows
        self.model.weights_changed()
        return self.model

    def make_engine(self) -> Engine:
        """Build the engine that the arguments describe, see `chosen_engine`."""
        args = self.args
        device = str(self.processes.device) if self._is_shared else args.device  # each process has its own
        kind = chosen_engine(args.engine, self.model.config, device)
        block = args.block_size or steady_block(self.model, args.learning_rate)
        # A CBOW token has one pair, a skip-gram token about six: fewer negatives stand for them nearly as well.
        few = kind != "torch" and self.model.config.architecture == "cbow"
        shared = args.shared_negatives or (16 if few else 32)
        if kind == "torch":
            return TorchEngine(self.model, device=device, tokens=args.tokens_per_step, shared=shared, block=block)
        return NumbaEngine(self.model, num_threads=args.num_threads, shared=shared, block=block, exact=kind == "exact")

    @property
    def _is_shared(self) -> bool:
        return self.processes.num_processes > 1

    @property
    def _words_done(self) -> int:
        return self.corpus.raw_words * self.state.epoch + self._words(self.state.position)

    def _words(self, ids: float) -> int:
        # Raw words of the corpus are more than its ids: rare words have none.
        return round(ids * self.corpus.raw_words / len(self.corpus))

    def _ids(self, words: int) -> int:
        return max(1, round(words * len(self.corpus) / self.corpus.raw_words))

    def _next_stop(self) -> tuple[int, bool]:
        length, position = len(self.corpus), self.state.position
        save = self._ids(self.args.save_words) if self.args.save_words else length
        stop = min(length, (position // save + 1) * save)
        if self.args.max_minutes is not None:
            stop = min(stop, position + self._ids(_CLOCK_WORDS))
        if self._is_shared:
            stop = min(stop, position + self._ids(self.args.average_words) * self.processes.num_processes)
        return stop, self.args.output_dir is not None and (stop == length or stop % save == 0)

    def _ids_left(self) -> float:
        """Return how many ids are still to be read: those of the epochs, or fewer if the time ends before."""
        done = self.state.epoch * len(self.corpus) + self.state.position
        left = float(self.args.num_train_epochs * len(self.corpus) - done)
        if self.args.max_minutes is None or done == 0:
            return left
        held = [self.state.seconds]
        # Each process has a clock of its own, and they must stop at the same slice: that of the first one counts.
        seconds = float((broadcast_object_list(held) if self._is_shared else held)[0])
        return min(left, max(60 * self.args.max_minutes - seconds, 0) * done / max(seconds, 1e-9))

    def _train_slice(self, engine: Engine, averaging: ParameterAveraging | None, bar: tqdm) -> None:
        stop, is_saved = self._next_stop()
        start, length = self.state.position, len(self.corpus)
        count, index = self.processes.num_processes, self.processes.process_index
        edges = np.linspace(start, stop, count + 1).astype(np.int64)
        before = self.state.epoch * length + start
        # Each process counts its own share of the work, as if all the work were that share.
        corpus_slice = CorpusSlice(
            start=int(edges[index]),
            stop=int(edges[index + 1]),
            before=before / count,
            total=(before + max(self._ids_left(), stop - start)) / count,
            rates=(self.args.learning_rate, self.args.min_learning_rate),
            seed=(self.args.seed, self.state.epoch, start, index),
        )
        watch = _Progress(self, bar, corpus_slice, count)
        began = time.perf_counter()
        try:
            engine.run(self.corpus.ids, corpus_slice, watch)
        finally:
            self.state.seconds += time.perf_counter() - began
        if averaging is not None:
            averaging.average((stop - start) / length)
        self.state.log_history.append(watch.entry(time.perf_counter() - began, stop))
        self.state.position = stop
        if stop == length:
            self.state.epoch, self.state.position = self.state.epoch + 1, 0
        if is_saved and self.processes.is_main_process:
            self._save(engine)

    def _write_back(self, engine: Engine) -> None:
        inputs, outputs = engine.matrices()
        if not torch.isfinite(inputs).all() or not torch.isfinite(outputs).all():
            self._stop_diverged("there are NaN or infinite numbers among the vectors", self._words_done)
        self.model.inputs.weight.data = inputs.cpu()
        self.model.needed_outputs("training").weight.data = outputs.cpu()

    def _stop_diverged(self, what: str, words: int) -> NoReturn:
        raise ValueError(
            f"The training diverged: {what} after {words} words. Lower learning_rate ({self.args.learning_rate}), "
            f"block_size ({self.args.block_size}) or tokens_per_step ({self.args.tokens_per_step}). "
            f"{last_of(self._checkpoints())}"
        )

    def _checkpoints(self) -> list[Path]:
        return [] if self.args.output_dir is None else checkpoints_in(self.args.output_dir)

    def _make_room(self) -> None:
        # Of checkpoints of the same run, which is done again; those of another run are not mixed with.
        for folder in self._checkpoints():
            if self._changed(_state_of(folder)["arguments"]):
                raise ValueError(
                    f"{self.args.output_dir} holds checkpoints of another run, such as {folder.name}: resume it "
                    "(resume_from_checkpoint=True, of a recipe --resume), or name another output_dir."
                )
            shutil.rmtree(folder)

    def _changed(self, before: dict[str, Any]) -> list[str]:
        now = dataclasses.asdict(self.args)
        return _differences(before, now, [name for name in now if name not in _NOT_TRAINED_WITH])

    def _save(self, engine: Engine) -> None:
        self._write_back(engine)
        root = Path(str(self.args.output_dir))
        folder = root / f"checkpoint-{self.state.epoch * len(self.corpus) + self.state.position}"
        clear_unfinished(root)
        with written_beside(folder) as unfinished:
            self.model.save_pretrained(unfinished)
            state = dataclasses.asdict(self.state) | {"arguments": dataclasses.asdict(self.args)}
            (unfinished / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
            publish(unfinished, folder)
        for old in self._checkpoints()[: -self.args.save_total_limit]:
            shutil.rmtree(old)

    def _resume(self, checkpoint: bool | str | os.PathLike[str]) -> None:
        folder = Path(str(agreed_checkpoint(checkpoint, self.args.output_dir)))
        model = self._checked(Word2VecModel.from_pretrained(folder, trust_remote_code=False))
        if different := _differences(vars(model.config), vars(self.model.config), _CONFIGURED):
            raise ValueError(f"{folder} holds another model ({'; '.join(different)}): name another output_dir.")
        self.model.load_state_dict(model.state_dict())
        state = _state_of(folder)
        if changed := self._changed(state.pop("arguments")):
            logger.warning("Resuming with other arguments: %s.", "; ".join(changed))
        self.state = Word2VecState(**state | {"interrupted": False})


def _state_of(checkpoint: Path) -> dict[str, Any]:
    try:
        return {"arguments": {}} | json.loads((checkpoint / STATE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{checkpoint} holds no {STATE_FILE} that can be read ({error}): remove it.") from error


def _differences(before: dict[str, Any], now: dict[str, Any], names: Iterable[str]) -> list[str]:
    return [f"{name}: {before.get(name)!r} -> {now[name]!r}" for name in names if before.get(name) != now[name]]


class _Progress:
    """Turn an engine's counts into a progress bar and a log entry."""

    def __init__(self, trainer: Word2VecTrainer, bar: tqdm, corpus_slice: CorpusSlice, processes: int) -> None:
        self.trainer, self.bar, self.slice, self.processes = trainer, bar, corpus_slice, processes
        self.start, self.mean = bar.n, float("nan")

    def __call__(self, done: int, loss: float, pairs: float) -> None:
        words, rate = self.start + self.trainer._words(done * self.processes), self.slice.rate(done)
        if not math.isfinite(loss):
            self.trainer._stop_diverged(f"the loss is {loss}, at the learning rate {rate:g},", words)
        if pairs:
            self.mean = loss / pairs
        self.bar.update(words - self.bar.n)
        self.bar.set_postfix(loss=f"{self.mean:.3f}" if pairs else "?", lr=f"{rate:.4f}", refresh=False)

    def entry(self, seconds: float, stop: int) -> dict[str, float]:
        state, length = self.trainer.state, len(self.trainer.corpus)
        return {
            "epoch": round(state.epoch + stop / length, 4),
            "loss": round(self.mean, 5),
            "learning_rate": self.slice.rate(self.slice.stop - self.slice.start),
            "words_per_second": round(self.trainer._words(stop - state.position) / max(seconds, 1e-9)),
        }


def _occurrences(model: Word2VecModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Count how often the corpus touches each row of the two matrices."""
    counts: np.ndarray = model.counts.cpu().numpy().astype(np.float64)
    inputs, outputs = np.zeros(len(model.inputs.weight)), counts
    inputs[: len(counts)] = counts
    if model.config.ngram_buckets:
        starts, ngrams = model.ngram_starts.cpu().numpy(), model.ngrams.cpu().numpy()
        inputs += np.bincount(ngrams, weights=np.repeat(counts, np.diff(starts)), minlength=len(inputs))
    if model.config.loss == "hierarchical-softmax":
        starts, nodes, _ = model.paths()
        outputs = np.bincount(nodes, weights=np.repeat(counts, np.diff(starts)), minlength=len(counts))
    return torch.from_numpy(inputs), torch.from_numpy(outputs)


# What a user of gensim types, of what is not the config's.
_OF_GENSIM = {
    "epochs": "num_train_epochs",
    "iter": "num_train_epochs",
    "workers": "num_threads",
    "alpha": "learning_rate",
    "min_alpha": "min_learning_rate",
    "max_final_vocab": "max_words",
}
# The fields of the config that follow from the corpus.
FILLED_IN = ("vocab_size", "num_ngrams", "with_outputs", "pad_token_id", "bos_token_id", "eos_token_id")
_CONFIGURED = [name for name in Word2VecConfig.__annotations__ if name not in FILLED_IN]


def train_word2vec(source: Source, **options: Any) -> Word2VecModel:
    """Read a corpus, see `WordCorpus.read`, and train word vectors on it.

    Args:
        source: A text file, a dataset, or an iterable of texts or of lists of words.
        **options: Fields of `Word2VecConfig` (`hidden_size=100`, `architecture="cbow"` ...) and of
            `Word2VecTrainingArguments` (`num_train_epochs=5` ...), options of `WordCorpus.read` (`min_count=5` ...).
    """
    reading = ("split", "lowercase", "min_count", "max_words", "phrases", "text_column", "cache_dir")
    training = [item.name for item in dataclasses.fields(Word2VecTrainingArguments)]
    known = [*reading, *training, *_CONFIGURED]
    check_options("train_word2vec", options, known, elsewhere=_OF_GENSIM, config=Word2VecConfig)
    for_args, for_corpus, for_config = parted(options, training, reading, _CONFIGURED)
    args, corpus = Word2VecTrainingArguments(**for_args), WordCorpus.read(source, **for_corpus)
    return Word2VecTrainer(Word2VecConfig(vocab_size=corpus.vocab_size, **for_config), corpus, args).train()
