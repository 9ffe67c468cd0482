"""transformers and datasets, unchanged, push to this Hub and pull from it."""

import pytest
import torch
from datasets import Dataset, DatasetDict, load_dataset
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import HfHubHTTPError
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate(["[PAD]", "[UNK]", "good", "bad", "film", "a"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def tiny_bert() -> BertForSequenceClassification:
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    labels = {"id2label": {0: "negative", 1: "positive"}, "label2id": {"negative": 0, "positive": 1}}
    return BertForSequenceClassification(BertConfig(vocab_size=6, max_position_embeddings=16, **size, **labels))


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_model_and_its_tokenizer_come_back_as_they_were_pushed(hub, repo_id):
    model = tiny_bert()
    model.push_to_hub(repo_id)
    tiny_tokenizer().push_to_hub(repo_id)
    assert same_weights(AutoModelForSequenceClassification.from_pretrained(repo_id), model)
    assert AutoTokenizer.from_pretrained(repo_id)("good film")["input_ids"] == [2, 4]


def test_a_model_is_loaded_at_a_tag_a_branch_or_a_commit(hub, api, repo_id):
    old, new, side = tiny_bert(), tiny_bert(), tiny_bert()
    old.push_to_hub(repo_id)
    commit = api.model_info(repo_id).sha
    api.create_tag(repo_id, tag="v1")
    new.push_to_hub(repo_id)
    side.push_to_hub(repo_id, revision="dev")
    for revision, model in {None: new, "v1": old, commit: old, "dev": side}.items():
        assert same_weights(AutoModelForSequenceClassification.from_pretrained(repo_id, revision=revision), model)
    with pytest.raises(OSError, match="not a valid git identifier"):
        AutoModelForSequenceClassification.from_pretrained(repo_id, revision="v9")


def test_a_load_is_from_one_commit_even_if_somebody_pushes_meanwhile(hub, api, repo_id, tmp_path):
    model = tiny_bert()
    model.push_to_hub(repo_id)
    before = api.model_info(repo_id).sha
    hub.fault("HEAD", "model.safetensors", hook=lambda: tiny_bert().push_to_hub(repo_id))
    loaded = AutoModelForSequenceClassification.from_pretrained(repo_id, cache_dir=tmp_path)
    assert api.model_info(repo_id).sha != before
    assert same_weights(loaded, model)


def test_a_pipeline_takes_its_task_from_the_card(hub, api, repo_id):
    tiny_bert().push_to_hub(repo_id)
    tiny_tokenizer().push_to_hub(repo_id)
    card = b"---\nlibrary_name: transformers\npipeline_tag: text-classification\n---\n"
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=repo_id)
    classifier = pipeline(model=repo_id)
    assert classifier.task == "text-classification"
    assert classifier("a good film")[0]["label"] in ("negative", "positive")


@pytest.mark.parametrize("target, token, status", [("user/denied", "hf_read", 403), ("other/denied", "hf_write", 403)])
def test_a_push_without_the_right_to_write_fails(hub, target, token, status):
    with pytest.raises(HfHubHTTPError) as error:
        tiny_bert().push_to_hub(target, token=token)
    assert error.value.response.status_code == status


def test_a_dataset_comes_back_as_it_was_pushed(hub, api, repo_id, tmp_path):
    train = Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 0]})
    splits = DatasetDict(train=train, test=train.select([1]))
    splits.push_to_hub(repo_id)
    first = api.dataset_info(repo_id).sha
    loaded = load_dataset(repo_id, cache_dir=tmp_path)
    assert {name: split.to_dict() for name, split in loaded.items()} == {
        name: split.to_dict() for name, split in splits.items()
    }
    assert [row["text"] for row in load_dataset(repo_id, split="train", streaming=True)] == ["a", "b", "c"]
    train.select([2]).push_to_hub(repo_id, config_name="small", split="train")
    assert load_dataset(repo_id, "small", split="train", cache_dir=tmp_path)[0]["text"] == "c"
    assert len(load_dataset(repo_id, split="train", revision=first, cache_dir=tmp_path)) == 3
    with pytest.raises(DatasetNotFoundError):
        load_dataset("user/missing", cache_dir=tmp_path)
