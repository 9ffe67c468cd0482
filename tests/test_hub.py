"""Pushing and pulling checkpoints, through the real huggingface_hub, against the Hub in `tests/mini_hub`."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import CommitOperationAdd, snapshot_download
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    pipeline,
)

import hfseq
from hfseq.hub import ConflictError, HubError, UnsafeArtifactError, VerificationError, pull, push
from tests.conftest import HUB
from tests.mini_hub import Blob
from tests.mini_hub.messages import HubError as Refusal

CARD = "---\nlibrary_name: transformers\npipeline_tag: text-classification\ntags:\n- hfseq\n---\n# A model\n"
WORDS = ("[PAD]", "[UNK]", "good", "bad", "film", "a")
CHECKPOINT_FILES = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}

lfs_only = pytest.mark.skipif(HUB.xet is not None, reason="downloads through xet do not pass the CDN of the test Hub")


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


@pytest.fixture
def checkpoint(tmp_path):
    return save_checkpoint(tmp_path / "checkpoint")


def requests(hub, method, part):
    return [entry for entry in hub.log if entry["method"] == method and part in entry["path"]]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def remote_files(api, repo_id, revision=None):
    return set(api.list_repo_files(repo_id, revision=revision)) - {".gitattributes"}


def assert_same_weights(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def load(repo_id, **options):
    return AutoModelForSequenceClassification.from_pretrained(repo_id, **options)


# What arrives.


def test_a_folder_becomes_one_commit_that_loads(hub, api, repo_id, checkpoint):
    result = push(checkpoint, repo_id, commit_message="release")
    assert len(requests(hub, "POST", "/commit/")) == 1
    assert [commit.title for commit in api.list_repo_commits(repo_id)] == ["release", "initial commit"]
    assert api.model_info(repo_id).sha == result.oid and result.oid in result.url
    assert set(result.files) == remote_files(api, repo_id) == CHECKPOINT_FILES
    assert_same_weights(load(repo_id), load(checkpoint))
    assert AutoTokenizer.from_pretrained(repo_id)("good film")["input_ids"] == [2, 4]
    assert pipeline(model=repo_id)("good film") == pipeline("text-classification", model=str(checkpoint))("good film")


def test_a_model_in_memory_is_pushed_with_its_tokenizer_and_card(hub, api, repo_id):
    model = make_model()
    result = push(model, repo_id, tokenizer=make_tokenizer(), card=CARD)
    assert len(requests(hub, "POST", "/commit/")) == 1
    assert set(result.files) == remote_files(api, repo_id) == CHECKPOINT_FILES
    assert_same_weights(load(repo_id), model)
    assert (pull(repo_id) / "README.md").read_text(encoding="utf-8") == CARD


def test_models_of_transformers_are_pushed_too(hub, repo_id):
    model = BertForSequenceClassification(
        BertConfig(vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    )
    push(model, repo_id, tokenizer=make_tokenizer(), card=CARD)
    assert_same_weights(load(repo_id), model)


def test_given_tokenizer_and_card_take_the_place_of_those_in_the_folder(hub, api, repo_id, checkpoint):
    (checkpoint / "vocab.txt").write_text("stale", encoding="utf-8")
    push(checkpoint, repo_id, tokenizer=make_tokenizer(("[PAD]", "[UNK]", "film")), card=CARD + "new")
    assert remote_files(api, repo_id) == CHECKPOINT_FILES
    assert AutoTokenizer.from_pretrained(repo_id)("film")["input_ids"] == [2]
    assert (pull(repo_id) / "README.md").read_text(encoding="utf-8").endswith("new")


def test_only_listed_files_leave_the_machine(hub, api, repo_id, checkpoint):
    strays = (".env", "notes.txt", "training_args.bin", "optimizer.pt", "trainer_state.json", "x.pkl", "code.py")
    for name in (*strays, "old.safetensors", "sub/data.csv", "sub/config.json"):
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_text("SECRET", encoding="utf-8")
    push(checkpoint, repo_id)
    assert remote_files(api, repo_id) == CHECKPOINT_FILES
    assert not any(b"SECRET" in entry["body"] for entry in hub.log)


def test_a_second_push_of_the_same_makes_no_commit(hub, api, repo_id, checkpoint):
    first = push(checkpoint, repo_id)
    assert push(checkpoint, repo_id) == push(checkpoint, repo_id, parent_commit=first.oid)
    assert api.model_info(repo_id).sha == first.oid
    assert len(requests(hub, "POST", "/commit/")) == 1


def test_a_new_repository_can_be_private(hub, api, repo_id, checkpoint):
    push(checkpoint, repo_id, private=True)
    assert api.model_info(repo_id).private
    with pytest.raises(HubError, match=f"{repo_id}: the repository or the revision does not exist"):
        pull(repo_id, token="hf_other")


def test_what_was_pushed_loads_by_commit_tag_and_branch(hub, api, repo_id, tmp_path):
    old, new, other = make_model(), make_model(), make_model()
    first = push(save_checkpoint(tmp_path / "old", old), repo_id)
    api.create_tag(repo_id, tag="v1")
    push(save_checkpoint(tmp_path / "new", new), repo_id)
    push(save_checkpoint(tmp_path / "other", other), repo_id, revision="dev")
    for revision, model in ((first.oid, old), ("v1", old), (None, new), ("main", new), ("dev", other)):
        assert_same_weights(load(repo_id, revision=revision), model)
        assert_same_weights(load(pull(repo_id, revision)), model)


# What is replaced.


@pytest.mark.parametrize("sizes", [("1GB", "1KB"), ("1KB", "1GB"), ("1KB", "2KB")], ids=str)
def test_a_push_after_resharding_loads_the_new_weights(hub, api, repo_id, tmp_path, sizes):
    old, new = (save_checkpoint(tmp_path / size, max_shard_size=size) for size in sizes)
    push(old, repo_id)
    push(new, repo_id)
    assert_same_weights(load(repo_id), load(new))
    assert remote_files(api, repo_id) == set(contents(new))
    assert len(requests(hub, "POST", "/commit/")) == 2


def test_old_pickles_are_deleted_and_all_other_files_stay(hub, api, repo_id, checkpoint):
    api.create_repo(repo_id)
    strangers = {"eval.json", "onnx/model.onnx", "sub/model.safetensors", "training_args.bin"}
    pickles = {"pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"}
    files = [CommitOperationAdd(name, name.encode()) for name in (strangers | pickles)]
    api.create_commit(repo_id, files, commit_message="old")
    push(checkpoint, repo_id)
    assert remote_files(api, repo_id) == CHECKPOINT_FILES | strangers


# What is refused before any request.


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def write(name, text):
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def truncate(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])


def turn_into_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def index(weight_map):
    def plant(folder):
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        save_file({"w": torch.ones(1)}, folder / "model-00001-of-00001.safetensors")
        (folder / "shard.bin").touch()
        write("model.safetensors.index.json", json.dumps({"weight_map": weight_map}))(folder)

    return plant


def link(name):
    def plant(folder):
        (folder / name).unlink(missing_ok=True)
        secret = folder.parent / "secret"
        secret.write_text("SECRET", encoding="utf-8")
        (folder / name).symlink_to(secret)

    return plant


def oversize_tokenizer(folder):
    make_tokenizer([*WORDS, "one too many"]).save_pretrained(folder)


BAD_CHECKPOINTS = {
    "no config": (remove("config.json"), "config.json is missing"),
    "config that is no JSON": (write("config.json", "{"), "config.json is not JSON"),
    "deep JSON": (write("config.json", "[" * 100_000), "config.json is not JSON"),
    "config that is a list": (write("config.json", "[]"), "holds a JSON list"),
    "no weights": (remove("model.safetensors"), "neither model.safetensors nor"),
    "pickle only": (turn_into_pickle, "holds pytorch_model.bin only.*save_pretrained"),
    "truncated weights": (truncate, "model.safetensors is truncated"),
    "weights that are text": (write("model.safetensors", "version"), "model.safetensors is truncated or is not"),
    "two sets of weights": (write("model.safetensors.index.json", "{}"), "delete the one that is stale"),
    "missing shard": (index({"w": "model-00002-of-00002.safetensors"}), "which is missing"),
    "shard outside the folder": (index({"w": "../outside.safetensors"}), "names '../outside.safetensors'"),
    "shard that is a pickle": (index({"w": "shard.bin"}), "names 'shard.bin'"),
    "shard that is no name": (index({"w": 1}), "names 1 as a shard"),
    "tensor that is not in its shard": (index({"v": "model-00001-of-00001.safetensors"}), "lacks 'v'"),
    "index without a map": (index({}), "has no weight_map"),
    "tokenizer of another model": (oversize_tokenizer, "is 6, but the model's vocab_size is 6"),
    "tokenizer without a vocabulary": (write("tokenizer.json", "{}"), "not a file of the tokenizers library"),
}
LINKED = {f"linked {name}": (link(name), f"{name} is a symbolic") for name in (*CHECKPOINT_FILES, "vocab.txt")}


@pytest.mark.parametrize("bad", BAD_CHECKPOINTS | LINKED)
def test_a_bad_checkpoint_is_refused_before_any_request(hub, repo_id, checkpoint, bad):
    plant, message = (BAD_CHECKPOINTS | LINKED)[bad]
    plant(checkpoint)
    with pytest.raises(UnsafeArtifactError, match=message):
        push(checkpoint, repo_id)
    assert hub.log == []


@pytest.mark.parametrize("bad", BAD_CHECKPOINTS)
def test_a_bad_checkpoint_is_refused_after_a_pull(hub, api, repo_id, checkpoint, bad):
    BAD_CHECKPOINTS[bad][0](checkpoint)
    api.create_repo(repo_id)
    api.upload_folder(repo_id=repo_id, folder_path=checkpoint)
    with pytest.raises(UnsafeArtifactError):
        pull(repo_id)


def test_links_with_other_names_are_left_alone(hub, api, repo_id, checkpoint):
    link("notes.txt")(checkpoint)
    push(checkpoint, repo_id)
    assert remote_files(api, repo_id) == CHECKPOINT_FILES


def test_a_checkpoint_without_card_is_refused_before_any_request(hub, repo_id, checkpoint):
    (checkpoint / "README.md").unlink()
    with pytest.raises(ValueError, match="no model card: pass card="):
        push(checkpoint, repo_id)
    assert hub.log == []


def test_an_invalid_card_is_refused_before_anything_is_uploaded(hub, api, repo_id, checkpoint):
    with pytest.raises(ValueError, match="metadata"):
        push(checkpoint, repo_id, card="---\nlicense: [\n---\n")
    assert remote_files(api, repo_id) == set()
    assert not requests(hub, "POST", "/preupload/")


def test_a_push_without_tokenizer_warns(hub, repo_id, checkpoint, caplog):
    push(make_model(), repo_id, card=CARD)
    assert "gets no tokenizer" in caplog.text
    push(checkpoint, repo_id)
    caplog.clear()
    push(make_model(), repo_id, card=CARD)
    assert caplog.text == ""


# Other writers.


def intrude(hub, repo_id, **files):
    """Commits as somebody else."""
    repo = hub.repos["model", repo_id]
    added = {name: Blob.regular(text) for name, text in files.items()}
    return lambda: repo.commit("main", repo.resolve("main").files | added, "intruder")


def deleted_in_between():
    raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")


def assert_untouched(api, repo_id, title, checkpoint, before):
    assert api.list_repo_commits(repo_id)[0].title == title
    assert contents(checkpoint) == before


def test_a_race_is_lost_cleanly_and_the_next_push_wins(hub, api, repo_id, checkpoint):
    push(save_checkpoint(checkpoint.parent / "other"), repo_id)
    before = contents(checkpoint)
    hub.fault("POST", "/commit/", hook=intrude(hub, repo_id, theirs=b"precious"))
    with pytest.raises(ConflictError, match=f"committed to {repo_id}.*nothing was written.*push again"):
        push(checkpoint, repo_id)
    assert_untouched(api, repo_id, "intruder", checkpoint, before)
    push(checkpoint, repo_id)
    assert remote_files(api, repo_id) == CHECKPOINT_FILES | {"theirs"}
    assert_same_weights(load(repo_id), load(checkpoint))


def test_the_same_push_by_somebody_else_in_between_is_a_conflict(hub, api, repo_id, checkpoint):
    """The client then makes no commit, so that nobody checks the parent, and reports the other's commit."""
    hub.fault("POST", "/preupload/", hook=lambda: push(checkpoint, repo_id, commit_message="intruder"))
    with pytest.raises(ConflictError):
        push(checkpoint, repo_id)
    assert api.list_repo_commits(repo_id)[0].title == "intruder"


def test_weights_that_somebody_else_deleted_in_between_are_a_conflict(hub, repo_id, tmp_path):
    push(save_checkpoint(tmp_path / "single"), repo_id)
    hub.fault("POST", "/commit/", hook=deleted_in_between)
    with pytest.raises(ConflictError):
        push(save_checkpoint(tmp_path / "shards", max_shard_size="1KB"), repo_id)


def test_a_stale_parent_is_a_conflict_before_anything_is_uploaded(hub, api, repo_id, checkpoint):
    api.create_repo(repo_id)
    parent = api.model_info(repo_id).sha
    intrude(hub, repo_id, theirs=b"precious")()
    before = contents(checkpoint)
    with pytest.raises(ConflictError, match=f"since {parent}"):
        push(checkpoint, repo_id, parent_commit=parent)
    assert_untouched(api, repo_id, "intruder", checkpoint, before)
    assert not requests(hub, "POST", "/preupload/")
    head = api.model_info(repo_id).sha
    assert push(checkpoint, repo_id, parent_commit=head[:8]).oid == api.model_info(repo_id).sha != head


# Verification.


def corrupt(hub, repo_id, name):
    """Replaces a file in the newest commit, as a faulty storage would."""

    def hook():
        hub.repos["model", repo_id].resolve("main").files[name] = Blob.regular(b"{}")

    return hook


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_a_push_that_arrived_wrong_is_noticed(hub, repo_id, checkpoint, name):
    hub.fault("POST", "/paths-info/", hook=corrupt(hub, repo_id, name))
    with pytest.raises(VerificationError, match=f"^{name} in {repo_id} at .* push again"):
        push(checkpoint, repo_id)
    push(checkpoint, repo_id)
    assert_same_weights(load(pull(repo_id)), load(checkpoint))


def test_a_file_that_did_not_arrive_is_noticed(hub, repo_id, checkpoint):
    hub.fault(
        "POST", "/paths-info/", hook=lambda: hub.repos["model", repo_id].resolve("main").files.pop("config.json")
    )
    with pytest.raises(VerificationError, match="^config.json in"):
        push(checkpoint, repo_id)


@lfs_only
def test_a_download_corrupted_on_the_way_is_noticed_and_not_kept(hub, repo_id, checkpoint, tmp_path):
    push(checkpoint, repo_id)
    hub.fault("GET", "/get/", corrupt=True)
    with pytest.raises(VerificationError, match=f"^model.safetensors of {repo_id} at .* pull again"):
        pull(repo_id, cache_dir=tmp_path / "cache")
    assert contents(pull(repo_id, cache_dir=tmp_path / "cache")) == contents(checkpoint)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_corrupted_in_the_cache_is_noticed_and_not_kept(hub, repo_id, checkpoint, tmp_path, name):
    push(checkpoint, repo_id)
    cached = (pull(repo_id, cache_dir=tmp_path / "cache") / name).resolve()
    cached.chmod(0o644)
    cached.write_bytes(cached.read_bytes()[:-1] + b" ")
    with pytest.raises(VerificationError, match=f"^{name} of"):
        pull(repo_id, cache_dir=tmp_path / "cache")
    assert contents(pull(repo_id, cache_dir=tmp_path / "cache")) == contents(checkpoint)


# Rights and other refusals.


@pytest.mark.parametrize(
    ("token", "namespace", "cause"),
    [
        ("hf_read", "user", "the token may not do this: it is read-only"),
        ("hf_write", "other", "foreign repository"),
        ("hf_bogus", "user", "the token is missing or not valid"),
    ],
)
def test_a_push_without_the_right_says_why_and_keeps_the_token_secret(hub, checkpoint, token, namespace, cause):
    with pytest.raises(HubError, match=cause) as caught:
        push(checkpoint, f"{namespace}/forbidden", token=token)
    error = caught.value
    while error is not None:
        assert token not in str(error)
        error = error.__cause__
    assert ("model", f"{namespace}/forbidden") not in hub.repos


def test_a_commit_that_the_hub_refuses_leaves_the_repository_as_it_was(hub, api, repo_id, checkpoint):
    hub.fault("POST", "/commit/", status=500)
    with pytest.raises(HubError, match=f"^{repo_id}: injected fault .HTTP 500.") as caught:
        push(checkpoint, repo_id)
    assert not isinstance(caught.value, ConflictError)
    assert remote_files(api, repo_id) == set()


def test_pulling_what_is_not_there_says_so(hub, api, repo_id):
    with pytest.raises(HubError, match=f"{repo_id}: the repository or the revision does not exist"):
        pull(repo_id)
    api.create_repo(repo_id)
    with pytest.raises(HubError, match="the revision does not exist"):
        pull(repo_id, "v9")


# Pulling.


def test_a_pull_brings_no_pickle_and_no_code(hub, api, repo_id, checkpoint):
    push(checkpoint, repo_id)
    strays = ("training_args.bin", "pytorch_model.bin", "code.py", "x.pkl", "checkpoint-1/model.safetensors", ".env")
    api.create_commit(repo_id, [CommitOperationAdd(name, b"x") for name in strays], commit_message="strays")
    folder = pull(repo_id)
    assert contents(folder) == contents(checkpoint)
    assert {path.name for path in folder.rglob("*")} == CHECKPOINT_FILES
    assert_same_weights(load(folder), load(checkpoint))


def test_a_pinned_commit_in_the_cache_needs_no_request(hub, repo_id, checkpoint):
    oid = push(checkpoint, repo_id).oid
    folder = pull(repo_id, oid)
    hub.log.clear()
    assert pull(repo_id, oid, verify=False) == folder
    assert hub.log == []


def test_a_pulled_folder_is_links_into_the_cache_and_is_not_pushed_as_such(hub, api, repo_id, checkpoint, tmp_path):
    push(checkpoint, repo_id)
    folder = pull(repo_id)
    with pytest.raises(UnsafeArtifactError, match="push a real copy"):
        push(folder, f"{repo_id}-copy")
    shutil.copytree(folder, tmp_path / "copy")
    push(tmp_path / "copy", f"{repo_id}-copy")
    assert remote_files(api, f"{repo_id}-copy") == CHECKPOINT_FILES


# Code.

WITHOUT_HFSEQ = """
import json, sys
import torch

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hfseq":
            raise ImportError("hfseq is not here")

sys.meta_path.insert(0, Blocked())
try:
    import hfseq
except ImportError as error:
    assert str(error) == "hfseq is not here"
else:
    raise AssertionError("hfseq is not blocked")
"""


def test_code_travels_and_runs_where_hfseq_is_not(hub, api, repo_id, checkpoint, run_python, tmp_path):
    models = {
        family.name: family.heads["text-classification"](
            family.config(vocab_size=len(WORDS), hidden_size=8, num_labels=2)
        ).eval()
        for family in hfseq.FAMILIES.values()
    }
    for name, model in models.items():
        files = push(model, f"{repo_id}-{name}", tokenizer=make_tokenizer(), card=CARD, with_code=True).files
        assert {f"{name}.py", "base.py", "artifacts.py"} <= set(files) == remote_files(api, f"{repo_id}-{name}")
    push(checkpoint, f"{repo_id}-plain")
    done = run_python(
        WITHOUT_HFSEQ
        + f"""
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

answers = {{}}
for name in {sorted(models)!r}:
    options = dict(pretrained_model_name_or_path="{repo_id}-" + name, trust_remote_code=True)
    assert AutoConfig.from_pretrained(**options).model_type == "hfseq_" + name
    assert type(AutoModel.from_pretrained(**options)).__name__ == name.upper() + "Model"
    model = AutoModelForSequenceClassification.from_pretrained(**options).eval()
    tokenizer = AutoTokenizer.from_pretrained(**options)
    label = pipeline("text-classification", model=model, tokenizer=tokenizer)("a good film")[0]["label"]
    with torch.no_grad():
        answers[name] = label, model(**tokenizer("a good film", return_tensors="pt")).logits.tolist()
print(json.dumps(answers))
try:
    AutoConfig.from_pretrained("{repo_id}-plain", trust_remote_code=True)
except ValueError as error:
    assert "hfseq_lstm" in str(error)
else:
    raise AssertionError("a checkpoint without code has loaded")
""",
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers.keys() == models.keys()
    for name, model in models.items():
        with torch.no_grad():
            logits = model(**make_tokenizer()("a good film", return_tensors="pt")).logits
        assert answers[name] == [model.config.id2label[int(logits.argmax())], logits.tolist()]


def test_the_map_to_the_code_is_complete_and_marks_no_live_class(hub, repo_id, checkpoint, tmp_path):
    model, before = make_model(), contents(checkpoint)
    push(model, repo_id, card=CARD, with_code=True)
    push(checkpoint, repo_id, with_code=True)
    config = json.loads((pull(repo_id) / "config.json").read_text(encoding="utf-8"))
    assert config.pop("auto_map") == {
        "AutoConfig": "lstm.LSTMConfig",
        "AutoModel": "lstm.LSTMModel",
        "AutoModelForSequenceClassification": "lstm.LSTMForSequenceClassification",
    }
    assert config == json.loads(before["config.json"])
    assert contents(checkpoint) == before
    model.save_pretrained(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("*.py"))
    assert "auto_map" not in (tmp_path / "plain/config.json").read_text(encoding="utf-8")


def test_a_map_to_code_that_stays_behind_is_refused(hub, repo_id, checkpoint):
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    write("config.json", json.dumps(config | {"auto_map": {"AutoConfig": "lstm.LSTMConfig"}}))(checkpoint)
    with pytest.raises(ValueError, match="has an auto_map: push with_code=True"):
        push(checkpoint, repo_id)
    assert hub.log == []


def test_only_families_of_hfseq_have_code_to_send(hub, repo_id, checkpoint):
    write("config.json", '{"model_type": "bert"}')(checkpoint)
    with pytest.raises(ValueError, match="Only code of hfseq can travel.*got 'bert'"):
        push(checkpoint, repo_id, with_code=True)
    assert hub.log == []


@pytest.mark.parametrize(
    ("line", "message"),
    [("from ..data import text", "imports only siblings"), ("import hfseq.data", "needs hfseq itself")],
)
def test_code_that_would_not_run_elsewhere_is_refused(hub, repo_id, checkpoint, tmp_path, monkeypatch, line, message):
    models_folder = tmp_path / "models"
    shutil.copytree(Path(hfseq.__file__).parent / "models", models_folder)
    with (models_folder / "base.py").open("a", encoding="utf-8") as base:
        base.write(line + "\n")
    monkeypatch.setattr("hfseq.hub.inspect.getfile", lambda cls: str(models_folder / "lstm.py"))
    with pytest.raises(ValueError, match=message):
        push(checkpoint, repo_id, with_code=True)
    assert hub.log == []


# Where the requests go, and the other ways of pushing.


def test_no_request_leaves_the_endpoint(hub, api, repo_id, checkpoint, run_python, tmp_path):
    """Nor does a lookup, nor is the conversion service told about a repository that holds a pickle only."""
    pickle_only = f"{repo_id}-pickle"
    api.create_repo(pickle_only)
    api.create_commit(
        pickle_only,
        [
            CommitOperationAdd("pytorch_model.bin", b"x"),
            CommitOperationAdd("config.json", str(checkpoint / "config.json")),
        ],
        commit_message="old",
    )
    done = run_python(
        f"""
        import json, socket, sys, time
        seen = set()
        def hook(event, args):
            if event == "socket.getaddrinfo":
                seen.add(str(args[0]))
            if event == "socket.connect" and args[0].family != socket.AF_UNIX:
                seen.add(str(args[1][0]))
        sys.addaudithook(hook)

        import hfseq
        from hfseq.hub import UnsafeArtifactError, pull, push
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        push({str(checkpoint)!r}, {repo_id!r})
        AutoTokenizer.from_pretrained(pull({repo_id!r}))
        AutoModelForSequenceClassification.from_pretrained({repo_id!r})
        for load in (pull, AutoModelForSequenceClassification.from_pretrained):
            try:
                load({pickle_only!r}, token="hf_write")
            except OSError as error:
                continue
            raise AssertionError("a pickle was accepted")
        time.sleep(0.5)  # the conversion request would leave from a thread
        print(json.dumps(sorted(seen)))

        try:  # the hook does see what leaves
            socket.getaddrinfo("hub.invalid", 443)
        except OSError:
            assert "hub.invalid" in seen
        """,
        HF_HOME=str(tmp_path / "home"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["127.0.0.1"]
    assert all("Authorization" not in entry["headers"] for entry in hub.log if entry["origin"] == "cdn")


def test_push_to_hub_of_transformers_works_for_our_models(hub, repo_id):
    model = make_model()
    model.push_to_hub(repo_id)
    make_tokenizer().push_to_hub(repo_id)
    assert_same_weights(load(repo_id), model)
    assert_same_weights(load(pull(repo_id)), model)
    assert not list(Path(snapshot_download(repo_id)).glob("*.py"))


def test_what_the_trainer_pushed_at_the_end_is_pulled_and_loads(hub, api, repo_id, tmp_path):
    rows = [{"input_ids": [2, 4], "labels": 1}, {"input_ids": [3, 4], "labels": 0}] * 4
    arguments = TrainingArguments(
        tmp_path / "run",
        push_to_hub=True,
        hub_model_id=repo_id,
        max_steps=2,
        save_steps=1,
        per_device_train_batch_size=2,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(make_model(), arguments, train_dataset=rows, processing_class=make_tokenizer())
    trainer.train()
    trainer.push_to_hub()
    assert_same_weights(load(repo_id), trainer.model)
    assert_same_weights(load(pull(repo_id)), trainer.model)
    result = push(tmp_path / "run", repo_id, card=CARD)
    assert api.model_info(repo_id).sha == result.oid
    assert_same_weights(load(repo_id, revision=result.oid), trainer.model)
