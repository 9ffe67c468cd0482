"""A model and its two tokenizers travel to the Hub and back as one."""

import pytest
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import hfseq
from hfseq.hub import pull, push
from hfseq.models.artifacts import UnsafeArtifactError
from hfseq.tokenization.files import load_tokenizer
from tests.hub.checkpoints import CARD, assert_same_weights, remote_files
from tests.tokenization.test_source_target import ENGLISH, FILES, HINDI, train, translator

WHOLE = {"README.md", "config.json", "generation_config.json", "model.safetensors", *FILES}


@pytest.fixture
def pair():
    return hfseq.SourceTargetTokenizer(train(ENGLISH), train(HINDI, "bpe"))


def test_a_folder_is_pushed_and_pulled_as_one(hub, api, repo_id, pair, tmp_path):
    model = translator(pair)
    model.save_pretrained(tmp_path)
    pair.save_pretrained(tmp_path)
    result = push(tmp_path, repo_id, card=CARD)
    assert len(hub.requests("POST", "/commit/")) == 1
    assert set(result.files) == remote_files(api, repo_id) == WHOLE
    for source in (repo_id, pull(repo_id)):
        assert_same_weights(AutoModelForSeq2SeqLM.from_pretrained(source), model)
        for load in (AutoTokenizer.from_pretrained, load_tokenizer):
            loaded = load(source)
            assert type(loaded) is hfseq.SourceTargetTokenizer
            assert loaded(ENGLISH, text_target=HINDI) == pair(ENGLISH, text_target=HINDI)


def test_a_model_in_memory_is_pushed_with_both(hub, api, repo_id, pair):
    push(translator(pair), repo_id, tokenizer=pair, card=CARD)
    assert remote_files(api, repo_id) == WHOLE


def test_push_to_hub_sends_both(hub, api, repo_id, pair, tmp_path):
    pair.push_to_hub(repo_id)
    assert remote_files(api, repo_id) >= FILES
    assert AutoTokenizer.from_pretrained(repo_id).get_vocab() == pair.get_vocab()
    pair.save_pretrained(tmp_path, push_to_hub=True, repo_id=f"{repo_id}-too")
    assert remote_files(api, f"{repo_id}-too") >= FILES


def test_swapped_languages_are_not_pushed(hub, repo_id, pair):
    swapped = hfseq.SourceTargetTokenizer(pair.target, pair.source)
    with pytest.raises(UnsafeArtifactError, match="languages of .* are swapped"):
        push(translator(pair), repo_id, tokenizer=swapped, card=CARD)
    assert not hub.log


def test_what_a_stranger_tore_apart_is_refused(hub, api, repo_id, pair, tmp_path):
    translator(pair).save_pretrained(tmp_path)
    pair.save_pretrained(tmp_path)
    (tmp_path / "target_tokenizer.json").unlink()
    api.create_repo(repo_id)
    api.upload_folder(repo_id=repo_id, folder_path=tmp_path)
    for load in (AutoTokenizer.from_pretrained, load_tokenizer):
        with pytest.raises(UnsafeArtifactError, match=f"{repo_id} lacks target_tokenizer.json"):
            load(repo_id)
