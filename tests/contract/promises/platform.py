"""Promise 1: an ordinary Hugging Face model, which Auto classes, pipelines and type checkers take."""

import copy
import inspect
from typing import get_args, get_origin

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    GenerationMixin,
    pipeline,
)
from transformers.models.auto.auto_factory import add_generation_mixin_to_remote_model
from transformers.utils import TransformersKwargs
from typing_extensions import Unpack

from tests.closeness import assert_same
from tests.contract.cases import Case
from tests.devices import DEVICE


def auto_classes_load_it(case: Case) -> None:
    folder = case.saved()
    assert type(AutoConfig.from_pretrained(folder)) is case.family.config
    assert type(case.auto_class.from_pretrained(folder)) is case.model_class
    if case.family.backbone is not None:
        assert type(AutoModel.from_pretrained(folder)) is case.family.backbone
    assert AutoTokenizer.from_pretrained(folder)("the film")["input_ids"] == case.tokenizer()("the film")["input_ids"]


SENTENCES = ["the film was good", "", "   ", "日本語 😀", "the plot was not very good and the film was bad"]


def feature_pipeline_answers_any_text(case: Case) -> None:
    folder = str(case.saved())
    for side in ("right", "left"):
        pipe = pipeline(
            "feature-extraction", model=folder, tokenizer=case.tokenizer(side), return_tensors=True, device=DEVICE
        )
        # transformers cannot pad a text of no tokens on the left: its slice [-0:] is the whole row.
        sentences = [text for text in SENTENCES if side == "right" or case.tokenizer()(text)["input_ids"]]
        for sentence, vectors in zip(sentences, pipe(sentences, batch_size=5), strict=True):
            alone = pipe(sentence)[0]
            assert len(alone), "an empty text has a vector too"
            assert_same(case.own_part(vectors[0], alone, side), alone, what=(side, sentence))


def pipeline_answers_any_text(case: Case) -> None:
    pipe = pipeline(case.task, model=str(case.saved()), device=DEVICE)
    together = pipe(SENTENCES, batch_size=5)
    alone = [pipe(sentence)[0] for sentence in SENTENCES]
    assert [a["label"] for a in together] == [a["label"] for a in alone]
    for a, b in zip(together, alone, strict=True):
        assert_same(a["score"], b["score"])


def tagging_pipeline_answers_any_text(case: Case) -> None:
    pipe = pipeline(case.task, model=str(case.saved()), device=DEVICE, ignore_labels=[])
    sentences = [sentence for sentence in SENTENCES if sentence.strip()]
    for together, sentence in zip(pipe(sentences, batch_size=3), sentences, strict=True):
        alone = pipe(sentence)
        assert [(a["word"], a["entity"]) for a in together] == [(a["word"], a["entity"]) for a in alone]
        assert len(alone) == len(case.tokenizer()(sentence)["input_ids"]) - 1  # without </s>
        for a, b in zip(together, alone, strict=True):
            assert_same(a["score"], b["score"])


def intent_pipeline_answers_any_text(case: Case) -> None:
    pipe = pipeline(case.task, model=str(case.saved()), device=DEVICE)
    together = pipe(SENTENCES, batch_size=5)
    for found, sentence in zip(together, SENTENCES, strict=True):
        alone = pipe(sentence)
        assert found["intent"] == alone["intent"] and found["intent"] in case.config().id2label.values()
        places = [[(slot["name"], slot["start"], slot["end"]) for slot in each["slots"]] for each in (found, alone)]
        assert places[0] == places[1]
        assert_same(found["score"], alone["score"])
        assert all(slot["value"] == sentence[slot["start"] : slot["end"]] for slot in found["slots"])


def stock_pipelines_read_the_same_checkpoint(case: Case) -> None:
    """A classifier and a tagger, to the bit; both are saved again as any other, and miss no weight in silence."""
    model, (ids, mask) = case.model(temperature=1.7), case.batch()
    outputs, folder = model(**case.given(ids, mask)), str(case.saved(model))
    for task, wanted in (("text-classification", outputs.logits), ("token-classification", outputs.slot_logits)):
        single = pipeline(task, model=folder, device=DEVICE).model
        assert type(single) is case.family.heads[task]
        assert torch.equal(single(ids, mask).logits, wanted)
        single.save_pretrained(case.folder / task)
        again = type(single).from_pretrained(case.folder / task).to(DEVICE)
        assert torch.equal(again(ids, mask).logits, wanted)
        assert again.config.slot_labels is None and again.config.architectures == [type(single).__name__]
    for task, part in (("text-classification", "classifier.bias"), ("token-classification", "slot_classifier.bias")):
        tensors = load_file(f"{case.saved(model)}/model.safetensors")
        del tensors[part]
        save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match="lacks classifier.bias"):
            case.family.heads[task].from_pretrained(folder)


def generation_pipeline_answers_any_text(case: Case) -> None:
    pipe = pipeline(case.task, model=str(case.saved()), tokenizer=case.tokenizer("left"), device=DEVICE)
    options = {"max_new_tokens": 6, "do_sample": False, "return_full_text": False}
    together = [answer[0] for answer in pipe(SENTENCES, batch_size=5, **options)]
    assert together == [pipe(sentence, **options)[0] for sentence in SENTENCES]


def fill_mask_pipeline_answers_any_text(case: Case) -> None:
    words = case.tokenizer()
    pipe = pipeline(case.task, model=str(case.saved()), tokenizer=words, device=DEVICE)
    texts = [
        f"the film was {words.mask_token}",
        words.mask_token,
        f"the {words.mask_token} was not very good film",
    ]
    for text, together in zip(texts, pipe(texts, batch_size=3), strict=True):
        inputs = words(text, return_tensors="pt").to(DEVICE)
        position = inputs["input_ids"][0].tolist().index(words.mask_token_id)
        shares = pipe.model(**inputs).logits[0, position].softmax(-1).detach()
        assert [answer["token"] for answer in together] == shares.topk(5).indices.tolist()
        assert_same(together[0]["score"], float(shares.max()))


def transformers_sees_whether_it_generates(case: Case) -> None:
    """From its bases: code of the Hub that names no `GenerationMixin` there is given another class than its own."""
    generates = case.task in ("text-generation", "text2text-generation")
    assert case.model_class.can_generate() == generates
    assert (GenerationMixin in case.model_class.__bases__) == generates
    assert add_generation_mixin_to_remote_model(case.model_class) is case.model_class


def hidden_states_are_returned_on_request(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    outputs = model(**case.given(ids, mask), output_hidden_states=True)
    assert len(outputs.hidden_states) == 1 + model.config.num_hidden_layers
    assert torch.equal(outputs.hidden_states[-1], case.states(model, ids, mask))
    assert model(**case.given(ids, mask)).hidden_states is None
    assert torch.equal(model(**case.given(ids, mask), return_dict=False)[0], outputs.logits)
    if "loss" in case.traits:  # which comes first in a tuple, as everywhere in transformers
        inputs = {**case.given(ids, mask), **case.wanted(case.targets(ids))}
        assert torch.equal(model(**inputs, return_dict=False)[0], model(**inputs).loss)


def keywords_of_forward_are_declared(case: Case) -> None:
    """What transformers passes to any model, for those who read signatures and for type checkers."""
    for model_class in {case.model_class, case.family.backbone} - {None}:
        parameters = inspect.signature(model_class.forward).parameters.values()
        annotation = next(each.annotation for each in parameters if each.kind is each.VAR_KEYWORD)
        assert get_origin(annotation) is Unpack, annotation
        assert TransformersKwargs.__optional_keys__ <= get_args(annotation)[0].__optional_keys__


def embeddings_are_exchanged_or_refused(case: Case) -> None:
    """By the methods of transformers; where there are none to exchange, in words of ours."""
    model, before = case.model(), case.reply(case.model())
    model.resize_token_embeddings(case.vocab_size)
    assert torch.equal(case.reply(model), before)
    try:
        present = model.get_input_embeddings()
    except NotImplementedError as error:
        assert "has no embeddings: it knows words by their ids" in str(error)
        with pytest.raises(NotImplementedError, match="has no embeddings: it knows words by their ids"):
            model.set_input_embeddings(nn.Embedding(case.vocab_size, 5))
        with pytest.raises(NotImplementedError, match="has no output embeddings"):
            model.set_output_embeddings(nn.Linear(5, case.vocab_size))
        with pytest.raises(ValueError, match=f"has {case.vocab_size} tokens and cannot become {case.vocab_size + 1}"):
            model.resize_token_embeddings(case.vocab_size + 1)
        return
    other = copy.deepcopy(present)
    if not isinstance(other, nn.Embedding):
        with pytest.raises(ValueError, match="quantized .* load the bag that it was made from"):
            model.set_input_embeddings(other)
        return
    nn.init.normal_(other.weight)
    model.set_input_embeddings(other)
    assert model.get_input_embeddings() is other
    assert not torch.equal(case.reply(model), before)
