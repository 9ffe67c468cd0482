"""Pushing and pulling checkpoints, through the real huggingface_hub, against the Hub in `tests/mini_hub`."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, ModelCard, snapshot_download
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    pipeline,
)

import hfseq
from hfseq.hub import ConflictError, HubError, UnsafeArtifactError, VerificationError, pull, push
from tests.conftest import HUB
from tests.hub.checkpoints import (
    CARD,
    CHECKPOINT_FILES,
    assert_same_weights,
    contents,
    load,
    make_model,
    make_tokenizer,
    remote_files,
    save_checkpoint,
)
from tests.mini_hub import Blob
from tests.mini_hub.messages import HubError as Refusal

GOLDEN_CARD = Path(__file__).parents[1] / "golden" / "card_classifier.md"

lfs_only = pytest.mark.skipif(HUB.xet is not None, reason="downloads through xet do not pass the CDN of the test Hub")


# What arrives.


def test_a_folder_becomes_one_commit_that_loads(hub, api, repo_id, checkpoint):
    result = push(checkpoint, repo_id, commit_message="release")
    assert len(hub.requests("POST", "/commit/")) == 1
    assert [commit.title for commit in api.list_repo_commits(repo_id)] == ["release", "initial commit"]
    assert api.model_info(repo_id).sha == result.oid and result.oid in result.url
    assert set(result.files) == remote_files(api, repo_id) == CHECKPOINT_FILES
    assert_same_weights(load(repo_id), load(checkpoint))
    assert AutoTokenizer.from_pretrained(repo_id)("good film")["input_ids"] == [2, 4]


def test_a_pipeline_takes_its_task_from_the_card_of_a_recipe(hub, repo_id, checkpoint):
    shutil.copyfile(GOLDEN_CARD, checkpoint / "README.md")
    push(checkpoint, repo_id)
    expected = pipeline("text-classification", model=str(checkpoint))("a good film")
    assert pipeline(model=repo_id)("a good film") == expected
    push(checkpoint, repo_id, card="---\nlibrary_name: transformers\n---\n# Without a pipeline_tag\n")
    with pytest.raises(RuntimeError, match="pipeline_tag"):
        pipeline(model=repo_id)


def test_a_model_in_memory_is_pushed_with_its_tokenizer_and_card(hub, api, repo_id):
    model = make_model()
    result = push(model, repo_id, tokenizer=make_tokenizer(), card=CARD)
    assert len(hub.requests("POST", "/commit/")) == 1
    assert set(result.files) == remote_files(api, repo_id) == CHECKPOINT_FILES
    assert_same_weights(load(repo_id), model)
    assert (pull(repo_id) / "README.md").read_text(encoding="utf-8") == CARD


def test_models_of_transformers_are_pushed_too(hub, repo_id):
    model = BertForSequenceClassification(
        BertConfig(vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    )
    push(model, repo_id, tokenizer=make_tokenizer(), card=CARD)
    assert_same_weights(load(repo_id), model)


def test_a_model_that_has_no_head_is_pushed_with_its_words(hub, api, repo_id, tmp_path):
    words = [["king", "queen", "man", "woman"]] * 4
    model = hfseq.train_word2vec(words, hidden_size=8, min_count=1, num_train_epochs=1, disable_tqdm=True)
    model.save_pretrained(tmp_path, vectors_only=True)
    assert set(push(tmp_path, repo_id, card=CARD).files) == remote_files(api, repo_id) == CHECKPOINT_FILES
    again = AutoModel.from_pretrained(repo_id)
    assert again.words == model.words
    assert (again.vectors.vectors == model.vectors.vectors).all()
    again = AutoModel.from_pretrained(pull(repo_id))
    assert again.vectors.most_similar("king") == model.vectors.most_similar("king")


def test_given_tokenizer_and_card_take_the_place_of_those_in_the_folder(hub, api, repo_id, checkpoint):
    (checkpoint / "vocab.txt").write_text("stale", encoding="utf-8")
    push(checkpoint, repo_id, tokenizer=make_tokenizer(("[PAD]", "[UNK]", "film")), card=CARD + "new")
    assert remote_files(api, repo_id) == CHECKPOINT_FILES
    assert AutoTokenizer.from_pretrained(repo_id)("film")["input_ids"] == [2]
    assert (pull(repo_id) / "README.md").read_text(encoding="utf-8").endswith("new")


def test_a_second_push_of_the_same_makes_no_commit(hub, api, repo_id, checkpoint):
    first = push(checkpoint, repo_id)
    assert push(checkpoint, repo_id) == push(checkpoint, repo_id, parent_commit=first.oid)
    assert api.model_info(repo_id).sha == first.oid
    assert len(hub.requests("POST", "/commit/")) == 1


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
    assert len(hub.requests("POST", "/commit/")) == 2


def test_old_pickles_are_deleted_and_all_other_files_stay(hub, api, repo_id, checkpoint):
    api.create_repo(repo_id)
    strangers = {"eval.json", "onnx/model.onnx", "sub/model.safetensors", "training_args.bin"}
    pickles = {"pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"}
    files = [CommitOperationAdd(name, name.encode()) for name in (strangers | pickles)]
    api.create_commit(repo_id, files, commit_message="old")
    push(checkpoint, repo_id)
    assert remote_files(api, repo_id) == CHECKPOINT_FILES | strangers


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
    assert not hub.requests("POST", "/preupload/")
    head = api.model_info(repo_id).sha
    assert push(checkpoint, repo_id, parent_commit=head[:8]).oid == api.model_info(repo_id).sha != head


# Verification.


def corrupt(hub, repo_id, name):
    """Replaces a file in the newest commit, as a faulty storage would."""

    def hook():
        hub.repos["model", repo_id].resolve("main").files[name] = Blob.regular(b"{}")

    return hook


def after_the_commit(hub, hook):
    """Calls the hook when the first file list is asked for after the next commit."""
    hub.fault("POST", "/commit/", hook=lambda: hub.fault("GET", "/tree/", hook=hook))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "README.md"])
def test_a_push_that_arrived_wrong_is_noticed(hub, repo_id, checkpoint, name):
    after_the_commit(hub, corrupt(hub, repo_id, name))
    with pytest.raises(VerificationError, match=f"^{name} in {repo_id} at .* push again"):
        push(checkpoint, repo_id)
    push(checkpoint, repo_id)
    assert_same_weights(load(pull(repo_id)), load(checkpoint))


def test_a_file_that_did_not_arrive_is_noticed(hub, repo_id, checkpoint):
    after_the_commit(hub, lambda: hub.repos["model", repo_id].resolve("main").files.pop("config.json"))
    with pytest.raises(VerificationError, match="^config.json in"):
        push(checkpoint, repo_id)


def test_a_stale_file_that_did_not_go_is_noticed(hub, repo_id, tmp_path):
    push(save_checkpoint(tmp_path / "single"), repo_id)
    after_the_commit(hub, corrupt(hub, repo_id, "model.safetensors"))
    with pytest.raises(VerificationError, match="^model.safetensors in"):
        push(save_checkpoint(tmp_path / "shards", max_shard_size="1KB"), repo_id)


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


# The other ways of pushing.


def test_push_to_hub_of_transformers_works_for_our_models(hub, repo_id):
    model = make_model()
    model.push_to_hub(repo_id)
    make_tokenizer().push_to_hub(repo_id)
    assert ModelCard.load(repo_id).data.tags == ["hfseq", "lstm"]
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
