"""Models of intents and slots: their loss by hand, and the classifier and the tagger in their checkpoint."""

import copy
import json

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoModelForTokenClassification

from hfseq import (
    AutoModelForIntentAndSlots,
    GRUConfig,
    GRUForIntentAndSlots,
    GRUForSequenceClassification,
    GRUForTokenClassification,
    GRUModel,
)
from tests.closeness import assert_same

INTENTS = {0: "play", 1: "stop"}
SLOTS = ["O", "B-song", "I-song"]


def config(**options):
    sizes = {"vocab_size": 20, "embedding_size": 6, "hidden_size": 5, "bidirectional": True}
    return GRUConfig(
        **{**sizes, "id2label": INTENTS, "label2id": {"play": 0, "stop": 1}, "slot_labels": SLOTS, **options}
    )


def model(**options):
    torch.manual_seed(0)
    return GRUForIntentAndSlots(config(**options)).eval()


def batch():
    """Three texts of 5, 3 and 1 tokens; the last one has no intent, and one of its neighbours no slot at one word."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 20, (3, 5), generator=generator)
    mask = torch.tensor([[1] * 5, [1] * 3 + [0] * 2, [1] + [0] * 4])
    slots = torch.randint(0, 3, (3, 5), generator=generator).masked_fill(mask == 0, -100)
    slots[0, 2] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([1, 0, -100]), "slot_labels": slots}


def sums(outputs, rows):
    """What the intents and what the slots cost, added up."""
    intents = F.cross_entropy(outputs.logits, rows["labels"], reduction="sum")
    slots = F.cross_entropy(outputs.slot_logits.flatten(0, 1), rows["slot_labels"].flatten(), reduction="sum")
    return intents, slots


def test_the_loss_is_that_of_the_texts_with_both_weights():
    rows = batch()
    outputs = model(intent_weight=2.0, slot_weight=0.5)(**rows)
    intents, slots = sums(outputs, rows)
    assert_same(outputs.loss, (2 * intents + 0.5 * slots) / 2)  # texts with an intent


@pytest.mark.parametrize(("left_out", "texts"), [("slot_labels", 2), ("labels", 3)])
def test_either_kind_of_labels_may_be_left_out(left_out, texts):
    rows = batch()
    given = {name: value for name, value in rows.items() if name != left_out}
    outputs = model()(**given)
    intents, slots = sums(outputs, rows)
    assert_same(outputs.loss, (intents if left_out == "slot_labels" else slots) / texts)
    assert model()(rows["input_ids"], rows["attention_mask"]).loss is None


def test_the_texts_of_an_update_may_be_dealt_out():
    """Each part is divided by the texts of all, as Trainer counts them by `labels`."""
    rows, network = batch(), model()
    whole = network(**rows)
    parts = [{name: value[row : row + 1] for name, value in rows.items()} for row in range(3)]
    dealt = sum(network(**part, num_items_in_batch=torch.tensor(2)).loss for part in parts)
    assert_same(dealt, whole.loss)
    assert_same(network(**rows, num_items_in_batch=8).loss, whole.loss / 4)


def test_nothing_to_learn_is_no_loss_and_no_nan():
    rows = batch()
    nothing = {**rows, "labels": torch.full((3,), -100), "slot_labels": torch.full((3, 5), -100)}
    assert model()(**nothing).loss == 0
    slots_alone = {**rows, "labels": nothing["labels"]}
    assert model()(**slots_alone, num_items_in_batch=torch.tensor(0)).loss == model()(**slots_alone).loss > 0


def test_the_temperature_divides_the_intents_in_evaluation_alone():
    rows = batch()
    plain, warm = model(), model(temperature=2.0)
    assert torch.equal(warm(**rows).logits, plain(**rows).logits / 2)
    assert torch.equal(warm(**rows).slot_logits, plain(**rows).slot_logits)
    still = model(temperature=2.0, hidden_dropout=0.0, classifier_dropout=0.0).train()
    assert torch.equal(still(**rows).logits, plain(**rows).logits)


def test_intents_are_read_as_one_label_a_text():
    assert model().config.problem_type == "single_label_classification"
    with pytest.raises(ValueError, match="problem_type='regression': a text has one intent"):
        model(problem_type="regression")


def test_what_a_model_of_two_heads_cannot_be_is_refused():
    with pytest.raises(ValueError, match="slot_labels is None: a model of intents and slots needs the names"):
        model(slot_labels=None)
    with pytest.raises(ValueError, match="pairs='siamese' reads two texts apart"):
        model(pairs="siamese", eos_token_id=3)
    with pytest.raises(StrictDataclassClassValidationError, match="gives the name 'O' to several outputs"):
        config(slot_labels=["O", "O"])
    rows = batch()
    with pytest.raises(ValueError, match="one label a token, got labels of shape"):
        model()(**{**rows, "slot_labels": rows["slot_labels"][:, 1:]})
    with pytest.raises(ValueError, match="label 3 is outside 0 to 2"):
        model()(**{**rows, "slot_labels": rows["slot_labels"].clamp(min=3)})


def test_with_a_crf_a_text_costs_what_its_row_of_slots_does(tmp_path):
    """As a tagger says it, whose loss is divided by labels; and both give the decision of the CRF."""
    names = ["one", "two", "three"]  # which may follow one another in any order
    rows, both = batch(), model(crf=True, slot_labels=names)
    for parameter in both.crf.parameters():
        torch.nn.init.normal_(parameter)
    both.save_pretrained(tmp_path)
    tagger = GRUForTokenClassification.from_pretrained(tmp_path)
    given = {"input_ids": rows["input_ids"], "attention_mask": rows["attention_mask"]}
    alone = tagger(**given, labels=rows["slot_labels"])
    outputs = both(**rows)
    slots = alone.loss * (rows["slot_labels"] != -100).sum()
    intents, _ = sums(outputs, rows)
    assert_same(outputs.loss, (intents + slots) / 2)
    assert torch.equal(outputs.slot_logits, alone.logits)
    assert not torch.equal(outputs.slot_logits, both.train()(**rows).slot_logits)


# One checkpoint, three readers


@pytest.fixture
def folder(tmp_path):
    model(temperature=1.7, unknown_threshold=0.3, intent_weight=2.0).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("reader", [GRUForSequenceClassification, GRUForTokenClassification])
def test_a_reader_has_the_labels_of_its_head_and_nothing_of_the_other(folder, reader):
    single = reader.from_pretrained(folder)
    is_tagger = reader is GRUForTokenClassification
    assert list(single.config.id2label.values()) == (SLOTS if is_tagger else ["play", "stop"])
    assert single.config.label2id == {name: index for index, name in single.config.id2label.items()}
    assert single.config.temperature == (None if is_tagger else 1.7)
    assert single.config.slot_labels is None and single.config.unknown_threshold is None
    assert single.config.intent_weight == 1.0
    own = {name for name in single.state_dict() if not name.startswith("model.")}
    assert own == {"classifier.weight", "classifier.bias"}
    single.save_pretrained(folder / "single")
    saved = json.loads((folder / "single/config.json").read_text(encoding="utf-8"))
    assert saved["architectures"] == [reader.__name__]
    assert set(load_file(folder / "single/model.safetensors")) == set(single.state_dict())


def test_the_callers_config_stays_that_of_both(folder):
    given = config()
    before = copy.deepcopy(given).to_dict()
    tagger = GRUForTokenClassification(given)
    assert tagger.num_labels == 3 and given.to_dict() == before
    loaded = GRUForTokenClassification.from_pretrained(folder, config=given)
    assert loaded.num_labels == 3 and given.slot_labels == SLOTS


def test_parts_that_are_missing_or_too_many_are_refused_by_every_reader(folder):
    weights = folder / "model.safetensors"
    whole = load_file(weights)
    readers = {
        GRUForSequenceClassification: "classifier.weight",
        GRUForTokenClassification: "slot_classifier.weight",
        GRUForIntentAndSlots: "slot_classifier.weight",
    }
    body = next(name for name in whole if name.startswith("model."))
    for reader, head in readers.items():
        for lacking in (head, body):
            save_file({name: value for name, value in whole.items() if name != lacking}, weights)
            with pytest.raises(ValueError, match="lacks"):
                reader.from_pretrained(folder)
        save_file({**whole, f"{body}.99": torch.zeros(2)}, weights)
        with pytest.raises(ValueError, match="has unexpected"):
            reader.from_pretrained(folder)
        save_file({**whole, body: torch.full_like(whole[body], float("nan"))}, weights)
        with pytest.raises(ValueError, match="NaN"):
            reader.from_pretrained(folder)
        save_file(whole, weights)
        reader.from_pretrained(folder)


def test_the_other_head_may_be_missing(folder):
    """Of a checkpoint that a later version of ours, or a person, has cut."""
    weights = folder / "model.safetensors"
    whole = load_file(weights)
    save_file({name: value for name, value in whole.items() if not name.startswith("slot_")}, weights)
    GRUForSequenceClassification.from_pretrained(folder)
    with pytest.raises(ValueError, match="lacks slot_classifier"):
        AutoModelForIntentAndSlots.from_pretrained(folder)


def test_a_new_head_on_the_body_is_asked_for_by_no_slots(folder):
    fresh = AutoModelForTokenClassification.from_pretrained(folder, slot_labels=None, num_labels=7)
    assert fresh.num_labels == 7 and fresh.classifier.weight.std() > 0.01
    body = GRUModel.from_pretrained(folder)
    assert all(torch.equal(value, body.state_dict()[name]) for name, value in fresh.model.state_dict().items())


def test_a_checkpoint_in_parts_is_read_too(folder, tmp_path):
    whole = model()
    whole.save_pretrained(tmp_path / "parts", max_shard_size=400)
    assert len(list((tmp_path / "parts").glob("model-*.safetensors"))) > 1
    rows = batch()
    tagger = GRUForTokenClassification.from_pretrained(tmp_path / "parts")
    found = tagger(rows["input_ids"], rows["attention_mask"]).logits
    assert torch.equal(found, whole(rows["input_ids"], rows["attention_mask"]).slot_logits)


def test_a_classifier_becomes_the_body_of_both(tmp_path):
    """Another class's checkpoint gives its body; the slots' head is new."""
    plain = config(slot_labels=None)
    GRUForSequenceClassification(plain).save_pretrained(tmp_path)
    both, info = GRUForIntentAndSlots.from_pretrained(tmp_path, slot_labels=SLOTS, output_loading_info=True)
    assert {name.split(".")[0] for name in info["missing_keys"]} == {"slot_classifier"}
    assert both.slot_classifier.weight.std() > 0.01


def test_a_classifier_says_what_it_does_not_read_of_labels_of_words(tmp_path, caplog):
    both = model(crf=True)
    both.save_pretrained(tmp_path)
    reader = GRUForSequenceClassification.from_pretrained(tmp_path)
    assert reader.config.crf is False and both.config.crf is True and "crf=True" not in caplog.text
    GRUForSequenceClassification(config(slot_labels=None, crf=True))
    assert "crf=True is about the labels of words: a classifier of texts does not read it" in caplog.text
