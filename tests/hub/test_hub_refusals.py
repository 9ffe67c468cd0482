"""What never leaves the machine, and what `push` and `pull` refuse and why."""

import dataclasses
import json

import pytest
from huggingface_hub import CommitOperationAdd

from hfseq.hub import ConflictError, HubError, UnsafeArtifactError, pull, push
from hfseq.tokenization.files import load_tokenizer
from tests.cards.test_render import golden
from tests.hub.checkpoints import (
    BAD_CHECKPOINTS,
    CHECKPOINT_FILES,
    HARMFUL_TOKENIZERS,
    LINKED,
    link,
    remote_files,
    save_checkpoint,
    upload,
)


def test_only_listed_files_leave_the_machine(hub, api, repo_id, checkpoint):
    strays = (".env", "notes.txt", "training_args.bin", "optimizer.pt", "trainer_state.json", "x.pkl", "code.py")
    for name in (*strays, "old.safetensors", "sub/data.csv", "sub/config.json"):
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_text("SECRET", encoding="utf-8")
    push(checkpoint, repo_id)
    assert remote_files(api, repo_id) == CHECKPOINT_FILES
    assert not any(b"SECRET" in entry["body"] for entry in hub.log)


def test_the_folder_of_a_finished_run_is_pushed_without_what_the_run_left(hub, api, repo_id, checkpoint):
    """`settings.yaml` stays behind: it may hold paths of this machine, and the card has the command."""
    for step in ("checkpoint-2", "checkpoint-4"):
        save_checkpoint(checkpoint / step)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin"):
            (checkpoint / step / name).write_bytes(b"SECRET")
    (checkpoint / "runs").mkdir()
    for name in ("training_args.bin", "settings.yaml", "runs/events.out.tfevents"):
        (checkpoint / name).write_bytes(b"SECRET")
    dataclasses.replace(golden(), summary="SECRET").save(checkpoint / "facts.json")  # `push` reads the verdict in it
    result = push(checkpoint, repo_id)
    assert set(result.files) == remote_files(api, repo_id) == CHECKPOINT_FILES
    assert not any(b"SECRET" in entry["body"] for entry in hub.log)
    assert push(checkpoint, repo_id).oid == result.oid


@pytest.mark.parametrize("bad", BAD_CHECKPOINTS | LINKED)
def test_a_bad_checkpoint_is_refused_before_any_request(hub, repo_id, checkpoint, bad):
    plant, message = (BAD_CHECKPOINTS | LINKED)[bad]
    plant(checkpoint)
    with pytest.raises(UnsafeArtifactError, match=message):
        push(checkpoint, repo_id)
    assert hub.log == []


@pytest.mark.parametrize("bad", BAD_CHECKPOINTS | HARMFUL_TOKENIZERS)
def test_a_bad_checkpoint_is_refused_after_a_pull(hub, api, repo_id, checkpoint, bad):
    (BAD_CHECKPOINTS | HARMFUL_TOKENIZERS)[bad][0](checkpoint)
    upload(api, repo_id, checkpoint)
    with pytest.raises(UnsafeArtifactError):
        pull(repo_id)


@pytest.mark.parametrize("bad", HARMFUL_TOKENIZERS)
def test_a_tokenizer_of_the_hub_is_tried_before_it_loads(hub, api, repo_id, checkpoint, bad):
    plant, message = HARMFUL_TOKENIZERS[bad]
    plant(checkpoint)
    upload(api, repo_id, checkpoint)
    with pytest.raises(UnsafeArtifactError, match=message):
        load_tokenizer(repo_id)


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
    assert not hub.requests("POST", "/preupload/")


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
        import json, socket, sys, threading
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
        for thread in threading.enumerate():  # the conversion request would leave from one
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join()
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
