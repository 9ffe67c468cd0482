"""Small checkpoints for the tests around loading and the Hub, whole ones and broken ones."""

import json

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

import hfseq
from tests.mini_hub.store import lfs_pointer

CARD = "---\nlibrary_name: transformers\npipeline_tag: text-classification\ntags:\n- hfseq\n---\n# A model\n"
WORDS = ("[PAD]", "[UNK]", "good", "bad", "film", "a")
CHECKPOINT_FILES = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def make_tokenizer(words=WORDS):
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def make_model(**config):
    return hfseq.LSTMForSequenceClassification(
        hfseq.LSTMConfig(vocab_size=len(WORDS), hidden_size=8, num_labels=2, **config)
    )


def save_checkpoint(folder, model=None, **options):
    """Writes what a training run leaves: model, tokenizer and card."""
    (model or make_model()).save_pretrained(folder, **options)
    make_tokenizer().save_pretrained(folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def load(source, **options):
    return AutoModelForSequenceClassification.from_pretrained(source, **options)


def assert_same_weights(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def remote_files(api, repo_id, revision=None):
    return set(api.list_repo_files(repo_id, revision=revision)) - {".gitattributes"}


def upload(api, repo_id, folder):
    """Puts a folder on the Hub as it is, as a stranger with other tools may do; returns the commit."""
    api.create_repo(repo_id, exist_ok=True)
    return api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="by a stranger").oid


# What can be wrong: each function returns one that does the damage to a checkpoint folder.


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def write(name, text):
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def configure(**values):
    """Changes config.json without asking the config class."""

    def plant(folder):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        write("config.json", json.dumps(config | values))(folder)

    return plant


def truncate(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def turn_into_pickle(folder):
    (folder / "model.safetensors").unlink()
    torch.save(make_model().state_dict(), folder / "pytorch_model.bin")


def index(weight_map, **entries):
    """Replaces the weights by an index; `shard.bin` beside it is a pickle that loads, if anybody loads it."""

    def plant(folder):
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        save_file({"w": torch.ones(1)}, folder / "model-00001-of-00001.safetensors")
        torch.save(make_model().state_dict(), folder / "shard.bin")
        write("model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": weight_map} | entries))(folder)

    return plant


def link(name):
    def plant(folder):
        (folder / name).unlink(missing_ok=True)
        secret = folder.parent / "secret"
        secret.write_text("SECRET", encoding="utf-8")
        (folder / name).symlink_to(secret)

    return plant


def oversize_tokenizer(folder):
    make_tokenizer([*WORDS, "extra"]).save_pretrained(folder)


def harmful_tokenizer(**pre_tokenizer):
    def plant(folder):
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        write("tokenizer.json", json.dumps(content | {"pre_tokenizer": pre_tokenizer}))(folder)

    return plant


POINTER = lfs_pointer("0" * 64, 1234).decode()

BAD_CONFIGS = {
    "no config": (remove("config.json"), "config.json is missing"),
    "config that is no JSON": (write("config.json", "{"), "config.json is not JSON"),
    "deep JSON": (write("config.json", "[" * 100_000), "config.json is not JSON"),
    "config that is a list": (write("config.json", "[]"), "holds a JSON list"),
}
BAD_WEIGHTS = {
    "no weights": (remove("model.safetensors"), "neither model.safetensors nor"),
    "pickle only": (turn_into_pickle, "holds pytorch_model.bin only.*never read.*save_file"),
    "truncated weights": (truncate, "model.safetensors is truncated.*again"),
    "LFS pointer": (write("model.safetensors", POINTER), "model.safetensors is truncated or is not"),
    "two sets of weights": (write("model.safetensors.index.json", "{}"), "delete the one that is stale"),
    "missing shard": (index({"w": "model-00002-of-00002.safetensors"}), "names model-00002-of.*which is missing"),
    "shard outside the folder": (index({"w": "../outside.safetensors"}), "names '../outside.safetensors'"),
    "shard that is a pickle": (index({"w": "shard.bin"}), "names 'shard.bin'"),
    "shard that is no name": (index({"w": 1}), "names 1 as a shard"),
    "tensor that is not in its shard": (index({"v": "model-00001-of-00001.safetensors"}), "lacks 'v'"),
    "index without a map": (index({}), "has no weight_map"),
    "index without metadata": (index({"w": "model-00001-of-00001.safetensors"}, metadata=None), "no metadata"),
}
BAD_TOKENIZERS = {
    "tokenizer of another model": (oversize_tokenizer, "is 6, but the model's vocab_size is 6"),
    "tokenizer without a vocabulary": (write("tokenizer.json", "{}"), "not a file of the tokenizers library"),
}
HARMFUL_TOKENIZERS = {
    "tokenizer that panics": (harmful_tokenizer(type="FixedLength", length=0), "asked to encode a text, it panics"),
    "tokenizer that does not load": (harmful_tokenizer(type="Magic"), "it does not load"),
}
BAD_CHECKPOINTS = BAD_CONFIGS | BAD_WEIGHTS | BAD_TOKENIZERS
LINKED = {f"linked {name}": (link(name), f"{name} is a symbolic") for name in (*sorted(CHECKPOINT_FILES), "vocab.txt")}
