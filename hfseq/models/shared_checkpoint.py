"""One checkpoint, three readers: a model with two heads, and a classifier and a tagger that read one of them.

`LSTMForIntentAndSlots` (`heads/joint.py`) saves one body and two heads. The stock pipelines know neither the class nor
its outputs: `pipeline("text-classification")` asks for a classifier, `pipeline("token-classification")` for a tagger,
and both get the ordinary class of the family, which reads its own head and leaves the other in the file.

Why so, and not by a `key_mapping` of transformers or another class in its Auto tables: transformers keeps a key
mapping for saving, so that a tagger would be saved under the names of the joint model; and a class from the Auto
tables that gives two outputs breaks the pipelines, which take the first for their own. Here the reader is an ordinary
model from the first line on: its config has the labels of its head alone, and saved again it is an ordinary
checkpoint. Its own head must be in the file, as if it had saved it; `slot_labels=None`, passed to `from_pretrained`,
asks for a new one.

In the file the classifier's weights are called as in any classifier, the tagger's `slot_classifier` and `crf`.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from safetensors import safe_open
from transformers import PreTrainedConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)

JOINT_CLASS: Final = "ForIntentAndSlots"
"""How the names of the classes end whose checkpoints hold two heads."""
SLOT_HEAD: Final = {"classifier": "slot_classifier"}
"""What a tagger calls its parts -> what the joint model calls them."""

# What a config says of two heads; one with a single head has the usual values again.
_OF_BOTH: Final = ("slot_labels", "intent_weight", "slot_weight", "unknown_threshold")
# What it says of the labels of words alone.
_OF_TAGS: Final = ("crf", "decoding", "feature_buckets")


def check_slots(config: PreTrainedConfig) -> None:
    """Refuse names of slots that cannot be those of outputs."""
    names = config.slot_labels
    if names is None:
        return
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        fault = f"gives the name {twice[0]!r} to several outputs" if twice else "is empty"
        raise ValueError(
            f"slot_labels {fault}: each tag of a word needs one name of its own, such as O, B-city, I-city"
        )


def classifier_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the config of a classifier: of a joint model's that of its intents, any other as it is.

    What it says of labels of words is told to change nothing, and not refused: it may come from a tagger's checkpoint,
    whose body the classifier takes.
    """
    if _slots_of(config) is not None:
        return _single(config, *_OF_TAGS)
    for name in filter(type(config).__dataclass_fields__.__contains__, _OF_TAGS):  # not every family has all
        if (value := getattr(config, name)) != _usual(config, name):
            logger.warning(
                f"{name}={value!r} is about the labels of words: a classifier of texts does not read it, and it "
                "changes nothing. Leave it out, or take a token classifier."
            )
    return config


def tagger_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return the config of a tagger: of a joint model's that of its slots, any other as it is."""
    if _slots_of(config) is None:
        return config
    own: Any = _single(config)
    own.id2label = dict(enumerate(config.slot_labels))
    own.label2id = {name: index for index, name in own.id2label.items()}
    own.problem_type, own.temperature = None, None
    return own


def _slots_of(config: PreTrainedConfig) -> list[str] | None:
    # A family that has no joint model has no such field.
    return getattr(config, "slot_labels", None)


def _single(config: PreTrainedConfig, *others: str) -> PreTrainedConfig:
    # A copy: the caller's config is still that of the joint model.
    own = copy.deepcopy(config)
    for name in (*_OF_BOTH, *others):
        if hasattr(own, name):
            setattr(own, name, _usual(config, name))
    return own


def _usual(config: PreTrainedConfig, name: str) -> Any:
    return type(config).__dataclass_fields__[name].default


def has_two_heads(name: str) -> bool:
    """Tell by its name whether a class has two heads."""
    return name.endswith(JOINT_CLASS)


def own_names(
    held: Iterable[str], wanted: Iterable[str], renamed: Mapping[str, str] | None, body: str
) -> dict[str, str]:
    """Return which tensors of a joint checkpoint a model with one head reads: their names there -> its own.

    Args:
        held: The names in the file.
        wanted: Those in the model.
        renamed: A part of the model -> what it is called in the file, where that is another name; None: its head is
            none of those in the file.
        body: The prefix of the backbone, of which everything is read, so that what does not fit is found.
    """
    if renamed is None:
        return {name: name for name in held if name.startswith(f"{body}.")}
    there = {part: own for own, part in renamed.items()}
    known, found = set(wanted), {}
    for name in held:
        part, dot, rest = name.partition(".")
        if part in renamed:  # the other head's, called as this one's is here
            continue
        own = there.get(part, part) + dot + rest
        if own in known or part == body:
            found[name] = own
    return found


def read_tensors(files: Iterable[str], names: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Read these tensors of safetensors files, under their new names."""
    found = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            held = file.keys()
            found.update({names[name]: file.get_tensor(name) for name in held if name in names})
    return found
