"""A small language model, a text to learn and a trainer over it, for the tests of training on streams."""

import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, TrainerCallback

from hfseq import FAMILIES
from hfseq.training.streams.trainer import StreamTrainer, StreamTrainingArguments
from hfseq.training.streams.windows import TokenText
from tests.closeness import difference

VOCAB_SIZE = 13
DROPOUT = {"hidden_dropout": 0.3, "weight_drop": 0.3, "dropout_kind": "locked"}


def text(tokens=601, seed=0, document=23):
    """A text whose next token depends on the last two, in documents of one length."""
    random = np.random.default_rng(seed)
    ids = list(random.integers(4, VOCAB_SIZE, 2))
    while len(ids) < tokens:
        ids.append(4 + (ids[-1] + 2 * ids[-2]) % (VOCAB_SIZE - 4) if random.random() < 0.8 else random.integers(4, 13))
    return TokenText(np.array(ids, np.int32), np.arange(0, tokens, document))


def small_model(family="lstm", **options):
    """A small language model without dropout, the same one every time."""
    torch.manual_seed(0)
    row = FAMILIES[family]
    sizes = {"vocab_size": VOCAB_SIZE, "embedding_size": 6, "hidden_size": 5, "num_hidden_layers": 2}
    return row.heads["text-generation"](row.config(**{**sizes, "hidden_dropout": 0.0, **options}))


def small_transformer(head, **options):
    """A small transformer without dropout, the same one every time."""
    torch.manual_seed(0)
    row = FAMILIES["transformer"]
    sizes = {"vocab_size": VOCAB_SIZE, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    rates = {"hidden_dropout": 0.0, "attention_dropout": 0.0}
    return row.heads[head](row.config(**{**sizes, **rates, **options}))


def small_masked_model(**options):
    """`small_transformer`, which tells hidden tokens."""
    return small_transformer("fill-mask", **options)


def small_tokenizer():
    """Says of the ids of `text` that 3 is the mask, and 0 to 3 are no words."""
    names = ["<pad>", "<unk>", "</s>", "<mask>", *map(str, range(4, VOCAB_SIZE))]
    words = models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>")
    marks = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>", "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), **marks)


class Recorder(StreamTrainer):
    """Keeps the loss of each batch as it is logged, and the gradient of each update."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.losses, self.gradients = [], []
        self.add_callback(GradientReader(self.gradients))

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        self.losses.append(loss.item())
        return loss


class GradientReader(TrainerCallback):
    """Keeps the gradient that each update follows."""

    def __init__(self, gradients):
        self.gradients = gradients

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.gradients.append(torch.cat([p.grad.flatten() for p in kwargs["model"].parameters()]).clone())


def make_trainer(parent, *, model=None, train=None, eval_dataset=None, callbacks=None, folder="run", **options):
    """A trainer whose updates are plain steps against the gradient; keywords that are not its own are arguments."""
    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "learning_rate": 0.5,
        "max_grad_norm": 0.0,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "window": 10,
        "total_train_batch_size": 6,
        "num_train_epochs": 1,
    }
    is_masked = options.get("mlm_probability") is not None
    if model is None:
        model = small_masked_model() if is_masked else small_model()
    return Recorder(
        model,
        StreamTrainingArguments(str(parent / folder), **{**defaults, **options}),
        text() if train is None else train,
        eval_dataset,
        callbacks=callbacks,
        processing_class=small_tokenizer() if is_masked else None,
    )


def distance(one, other):
    """The greatest difference between two models' parameters, as a share of their size."""
    return difference(one.parameters(), other.parameters(), scale=0.1)  # a bias of keys stays near 0


def nats(model, ids):
    """The mean of -log P of a text's tokens but the first, read at once."""
    ids = torch.as_tensor(np.asarray(ids, np.int64))
    return torch.nn.functional.cross_entropy(model(ids[None, :-1]).logits[0], ids[1:])


def gradient(model, loss):
    """Of all parameters, one after the other."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
