"""What `from_pretrained` takes from a repository on the Hub, what it refuses, and which requests it makes."""

import json
import threading

import pytest
import torch
from transformers import AutoModelForSequenceClassification

import hfseq
from hfseq.hub import UnsafeArtifactError, pull, push
from tests.hub.checkpoints import (
    BAD_WEIGHTS,
    assert_same_weights,
    configure,
    index,
    make_model,
    save_checkpoint,
    turn_into_pickle,
    upload,
)

REFUSED = {
    "shard that is a pickle": "names 'shard.bin' as a shard: only .*safetensors files",
    "shard outside the folder": "names '../outside.safetensors' as a shard",
    "shard that is no name": "names 1 as a shard",
    "index without a map": "has no weight_map",
    "pickle only": "has neither model.safetensors nor .*A pickle .* is never read.*save_file",
    "no weights": "has neither model.safetensors nor",
    "truncated weights": "truncated or malformed .*: save, push or download them again",
    "LFS pointer": "truncated or malformed",
}


@pytest.fixture(params=[hfseq.LSTMForSequenceClassification, AutoModelForSequenceClassification])
def load(request):
    return request.param.from_pretrained


@pytest.fixture
def dangers(monkeypatch):
    """The calls of what reads a pickle or tells the conversion service about a repository; they do nothing."""
    calls = []
    for name in ("torch.load", "transformers.modeling_utils.auto_conversion"):
        monkeypatch.setattr(name, lambda *args, name=name, **kwargs: calls.append(name) or (None, None, None))
    monkeypatch.delenv("DISABLE_SAFETENSORS_CONVERSION", raising=False)
    return calls


@pytest.mark.parametrize("bad", REFUSED)
def test_weights_that_are_not_safetensors_are_refused(hub, api, repo_id, checkpoint, load, dangers, bad):
    BAD_WEIGHTS[bad][0](checkpoint)
    upload(api, repo_id, checkpoint)
    with pytest.raises(UnsafeArtifactError, match=REFUSED[bad]) as caught:
        load(repo_id)
    assert "use_safetensors" not in str(caught.value)
    assert dangers == [] and not [thread.name for thread in threading.enumerate() if "conversion" in thread.name]


def test_without_the_checks_the_pickle_would_be_read(hub, api, repo_id, checkpoint, load, dangers, monkeypatch):
    index({"w": "shard.bin"})(checkpoint)
    upload(api, repo_id, checkpoint)
    monkeypatch.setattr("hfseq.models.base._check_source", lambda source, kwargs: None)
    with pytest.raises(UnsafeArtifactError, match="truncated or malformed"):  # the second guard: headers come first
        load(repo_id)
    assert dangers == []
    monkeypatch.setattr("hfseq.models.base.tensors_of", lambda files: {})
    monkeypatch.setattr("hfseq.models.base._refuse_by_headers", lambda *args: None)
    with pytest.raises(Exception):  # noqa: B017 (whatever transformers makes of nothing)
        load(repo_id)
    assert dangers == ["torch.load"]


def test_without_the_switch_the_conversion_service_would_be_told(hub, api, repo_id, checkpoint, dangers):
    turn_into_pickle(checkpoint)
    upload(api, repo_id, checkpoint)
    with pytest.raises(OSError, match="use_safetensors"):
        super(hfseq.models.base.SequencePreTrainedModel, hfseq.LSTMForSequenceClassification).from_pretrained(
            repo_id, use_safetensors=True
        )
    assert dangers == ["transformers.modeling_utils.auto_conversion"]


def test_what_a_config_says_about_weights_is_not_followed(hub, api, repo_id, checkpoint, load, dangers):
    configure(transformers_weights="adapter_model.bin")(checkpoint)
    torch.save(make_model().state_dict(), checkpoint / "adapter_model.bin")
    upload(api, repo_id, checkpoint)
    for source in (repo_id, checkpoint):
        with pytest.raises(ValueError, match="names 'adapter_model.bin'.*delete that entry"):
            load(source)
    assert dangers == []


def test_an_index_in_a_subfolder_is_checked_too(hub, api, repo_id, checkpoint, load, dangers):
    model = load(save_checkpoint(checkpoint / "good", max_shard_size="1KB"))
    index({"w": "shard.bin"})(save_checkpoint(checkpoint / "bad"))
    upload(api, repo_id, checkpoint)
    assert_same_weights(load(repo_id, subfolder="good"), model)
    with pytest.raises(UnsafeArtifactError, match="names 'shard.bin'"):
        load(repo_id, subfolder="bad")
    assert dangers == []


def test_a_commit_between_check_and_load_changes_nothing(hub, api, repo_id, checkpoint, load, dangers):
    model = load(checkpoint)
    upload(api, repo_id, checkpoint)
    index({"w": "shard.bin"})(checkpoint)

    def intrude():
        api.delete_file("model.safetensors", repo_id)
        upload(api, repo_id, checkpoint)

    hub.fault("HEAD", "model.safetensors.index.json", hook=intrude)
    assert_same_weights(load(repo_id), model)
    assert "shard.bin" in api.list_repo_files(repo_id)
    assert dangers == []


def test_a_hub_that_fails_to_show_the_index_is_not_taken_for_one_without(hub, api, repo_id, checkpoint, load, dangers):
    index({"w": "shard.bin"})(checkpoint)
    upload(api, repo_id, checkpoint)
    hub.fault("HEAD", "model.safetensors.index.json", status=500)
    with pytest.raises(OSError):
        load(repo_id)
    assert dangers == []


def test_sharded_weights_load(hub, repo_id, tmp_path, load):
    folder = save_checkpoint(tmp_path / "shards", max_shard_size="1KB")
    push(folder, repo_id)
    assert_same_weights(load(repo_id), load(folder))


@pytest.mark.parametrize("size", ["1KB", "1GB"])
def test_a_second_load_asks_for_the_commit_only_and_a_pinned_one_for_nothing(hub, repo_id, tmp_path, load, size):
    oid = push(save_checkpoint(tmp_path / "checkpoint", max_shard_size=size), repo_id).oid
    model = load(repo_id)
    hub.log.clear()
    assert_same_weights(load(repo_id), model)
    assert [(entry["method"], entry["path"]) for entry in hub.log] == [("GET", f"/api/models/{repo_id}")]
    hub.log.clear()
    assert_same_weights(load(repo_id, revision=oid), model)
    assert hub.log == []


def test_a_repository_that_may_not_be_read_gives_the_usual_errors(hub, api, repo_id, checkpoint, load, tmp_path):
    push(checkpoint, repo_id)
    options = {"token": "hf_other", "cache_dir": tmp_path / "cache"}
    api.update_repo_settings(repo_id, gated="manual")
    with pytest.raises(OSError, match="gated repo") as gated:
        load(repo_id, **options)
    api.update_repo_settings(repo_id, gated=False, private=True)
    with pytest.raises(OSError, match="not a valid model identifier.*\n.*hf auth login") as private:
        load(repo_id, **options)
    with pytest.raises(OSError, match="v9 is not a valid git identifier"):
        load(repo_id, revision="v9")
    assert not isinstance(gated.value, UnsafeArtifactError) and not isinstance(private.value, UnsafeArtifactError)


def test_without_network_the_error_says_so(hub, repo_id, run_python):
    done = run_python(
        f"""
        import json, time
        waits = []  # the client waits 1, 2, 4, 8, 8 seconds between its attempts
        time.sleep = waits.append
        import hfseq
        from transformers import AutoModelForSequenceClassification
        for cls in (hfseq.LSTMForSequenceClassification, AutoModelForSequenceClassification):
            try:
                cls.from_pretrained({repo_id!r})
            except OSError as error:
                print(json.dumps([type(error).__name__, str(error), waits]))
            waits.clear()
        """,
        HF_ENDPOINT="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stderr
    for name, message, waits in map(json.loads, done.stdout.splitlines()):
        assert name == "OSError" and len(waits) <= 5  # as for any model of transformers
        assert "couldn't connect to 'http://127.0.0.1:9'" in message
    assert done.stdout.count("\n") == 2
    assert hub.log == []


def test_what_is_in_the_cache_loads_offline(hub, repo_id, tmp_path, run_python):
    """Loaded before in one file, loaded before in shards, and only pulled."""
    weights = {}
    for name, size in {"single": "1GB", "shards": "1KB", "pulled": "1GB"}.items():
        push(save_checkpoint(tmp_path / name, max_shard_size=size), f"{repo_id}-{name}")
        model = hfseq.LSTMForSequenceClassification.from_pretrained(tmp_path / name)
        weights[name] = model.classifier.weight.tolist()
    for name in ("single", "shards"):
        AutoModelForSequenceClassification.from_pretrained(f"{repo_id}-{name}")
    pull(f"{repo_id}-pulled")
    hub.log.clear()
    done = run_python(
        f"""
        import json, hfseq
        from transformers import AutoModelForSequenceClassification
        for name in {list(weights)!r}:
            for cls in (hfseq.LSTMForSequenceClassification, AutoModelForSequenceClassification):
                model = cls.from_pretrained("{repo_id}-" + name)
                print(json.dumps([name, model.classifier.weight.tolist()]))
        try:
            hfseq.LSTMForSequenceClassification.from_pretrained("user/never-seen")
        except OSError as error:
            print(json.dumps(["never-seen", str(error)]))
        """,
        HF_HUB_OFFLINE="1",
    )
    assert done.returncode == 0, done.stderr
    *answers, (name, error) = map(json.loads, done.stdout.splitlines())
    assert answers == [[name, weights[name]] for name in weights for _ in range(2)]
    assert name == "never-seen" and "couldn't find them in the cached files" in error
    assert hub.log == []
