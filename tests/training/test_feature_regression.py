"""`wide_solver: regression` of taggers: the best weights of the features, alone or mixed with a network."""

import pytest
import torch
from datasets import Dataset
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import DataCollatorForTokenClassification, TrainerCallback

from hfseq import CRFForTokenClassification, LSTMConfig, LSTMForTokenClassification, train_tokenizer
from hfseq.data.tagged import tokenize_words
from hfseq.models.token_words import word_tables
from hfseq.training import feature_regression
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.feature_regression import STRENGTH, FeatureTexts, features_of, fit_features, padded_batches
from hfseq.training.trainer import SequenceTrainer
from tests.closeness import assert_same
from tests.tasks.tagging.taggers import ELSE, NAMES, SENTENCES, TAGGED

LABELS = NAMES["entities"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, "word_or_characters", min_frequency=5)  # some of the words are spelled


def rows(tokenizer, sentences):
    tokens = [sentence.split() for sentence in sentences]
    tags = [[LABELS.index(TAGGED["entities"].get(word, ELSE["entities"])) for word in words] for words in tokens]
    return tokenize_words(Dataset.from_dict({"tokens": tokens, "labels": tags}), tokenizer, LABELS)


@pytest.fixture(scope="module")
def train(tokenizer):
    return rows(tokenizer, SENTENCES)


@pytest.fixture(scope="module")
def validation(tokenizer):
    return rows(tokenizer, ["Ana likes New York", "call Oslo", "I like Bergen a lot", "hello Anna", "Ana"])


def made(tokenizer, kind="crf", **options):
    if kind == "crf":
        return CRFForTokenClassification.of(tokenizer, LABELS, feature_buckets=4096)
    torch.manual_seed(0)
    tables = word_tables(tokenizer)
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {name: index for index, name in enumerate(LABELS)}}
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    shared = {"vocab_size": len(tokenizer), "feature_buckets": 4096, **names, **special, **tables.sizes(), **options}
    sizes = {"embedding_size": 8, "hidden_size": 8, "characters": "cnn", "character_hidden_size": 4}
    model = LSTMForTokenClassification(LSTMConfig(**{"crf": True, **sizes, **shared}))
    model.fill_words(tables)
    return model


def arguments(folder, **options):
    usual = {
        "use_cpu": True,
        "disable_tqdm": True,
        "report_to": [],
        "wide_solver": "regression",
        "save_strategy": "no",
    }
    return SequenceTrainingArguments(str(folder), **{**usual, **options})


def trained(model, tokenizer, folder, train, validation=None, callbacks=(), **options):
    if hasattr(model, "classifier"):  # a linear CRF takes no steps
        options.setdefault("max_steps", 5)
    trainer = SequenceTrainer(
        model,
        arguments(folder, **options),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=DataCollatorForTokenClassification(tokenizer),
        callbacks=list(callbacks),
    )
    trainer.train()
    return trainer


def mean_loss(model, dataset):
    """The loss of a label, each text read by itself."""
    model.eval()
    total = count = 0
    with torch.no_grad():
        for row in dataset:
            labels = torch.tensor([row["labels"]])
            total += model(torch.tensor([row["input_ids"]]), labels=labels, num_items_in_batch=1).loss
            count += (labels >= 0).sum()
    return total / count


def objective(model, dataset):
    count = sum(label >= 0 for row in dataset["labels"] for label in row)
    learnt = [features_of(model).weight, *model.crf.parameters()]
    return mean_loss(model, dataset) + STRENGTH / count * sum(each.detach().square().sum() for each in learnt)


def test_texts_as_distinct_words_say_what_the_model_says(tokenizer, train):
    model = made(tokenizer)
    torch.nn.init.normal_(model.model.features.weight)
    texts = FeatureTexts(model, train)
    emissions = texts.parted(texts.emissions(model.model.features.weight[texts.used].detach()))
    for (ids, mask, _), own in zip(padded_batches(train, model), emissions, strict=True):
        assert_same(own, model.model(ids, mask).last_hidden_state.detach())
    # Each distinct word once; the sign beyond a text, and `</s>`, which no word has beside it.
    assert len(texts.rows) == 2 + len({word for sentence in SENTENCES for word in sentence.split()})
    assert texts.num_labels == sum(len(sentence.split()) for sentence in SENTENCES)


def test_no_step_makes_the_found_weights_better(tokenizer, train):
    model = made(tokenizer)
    found = fit_features(FeatureTexts(model, train), model)
    assert not model.model.features.weight.any() and not any(each.any() for each in model.crf.parameters())
    with torch.no_grad():
        model.model.features.weight[found.used] = found.weight
    model.crf.load_state_dict(found.crf.state_dict())
    assert_same(torch.tensor(found.loss), mean_loss(model, train), 1e-4)
    best = objective(model, train)
    steps = made(tokenizer)
    optimizer = torch.optim.Adam(steps.parameters(), 0.05)
    (ids, mask, labels), *others = padded_batches(train, steps)
    assert not others
    for _ in range(150):
        optimizer.zero_grad()
        loss = steps(ids, mask, labels=labels).loss
        learnt = [steps.model.features.weight, *steps.crf.parameters()]
        (loss + STRENGTH / (labels >= 0).sum() * sum(each.square().sum() for each in learnt)).backward()
        optimizer.step()
    other = objective(steps, train)
    assert best <= other * (1 + 1e-3) and best > 0.95 * other


def test_a_linear_crf_is_trained_without_a_step(tokenizer, train, tmp_path):
    model = made(tokenizer)
    trainer = trained(model, tokenizer, tmp_path, train)
    assert trainer.state.global_step == 0 and trainer.training_seconds > 0
    (logged,) = trainer.state.log_history
    assert_same(torch.tensor(logged["train_loss"]), mean_loss(model, train), 1e-4)
    answers = [model(torch.tensor([row["input_ids"]])).logits[0].argmax(-1) for row in train]
    for row, answer in zip(train, answers, strict=True):
        labels = torch.tensor(row["labels"])
        assert torch.equal(answer[labels >= 0], labels[labels >= 0])
    assert model.model.features.weight.requires_grad


class Watch(TrainerCallback):
    """Look at the features while the network learns."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        weight = model.features.weight
        self.seen.append(not weight.requires_grad and not weight.any())


@pytest.mark.parametrize("crf", [True, False])
def test_a_tagger_is_the_sum_of_its_network_and_of_the_regression(tokenizer, train, validation, tmp_path, crf):
    model, watch = made(tokenizer, "lstm", crf=crf), Watch()
    trainer = trained(model, tokenizer, tmp_path, train, validation, [watch])
    network = made(tokenizer, "lstm", crf=crf)
    trained(network, tokenizer, tmp_path, train, wide_solver="steps", max_steps=5)
    mixed = trainer.mixed
    assert watch.seen == [True] * 5 and model.features.weight.requires_grad and model.features.weight.any()
    assert mixed.loss < mixed.network_loss
    assert_same(torch.tensor(mixed.loss), mean_loss(model, validation), 1e-4)
    found = fit_features(FeatureTexts(model, train), model)
    assert_same(model.features.weight[found.used].detach(), mixed.of_regression * found.weight, 1e-3)
    if not crf:
        assert_same(model.classifier.weight.detach() / mixed.of_network, alone(tokenizer, train, tmp_path), 1e-3)


def alone(tokenizer, train, folder):
    """The last weights of a network whose features never spoke."""
    network = made(tokenizer, "lstm", crf=False)
    network.features.weight.requires_grad_(False)
    trained(network, tokenizer, folder, train, wide_solver="steps")
    return network.classifier.weight.detach()


def test_labels_that_training_never_shows_do_not_choose(tokenizer, train, validation, tmp_path):
    unseen = validation.map(lambda row: {"labels": [len(LABELS) if label == 1 else label for label in row["labels"]]})
    trainer = trained(made(tokenizer, "lstm"), tokenizer, tmp_path, train, unseen)
    assert trainer.mixed.loss < trainer.mixed.network_loss


def test_features_and_network_are_one_model_in_steps_too(tokenizer, train, tmp_path):
    model = made(tokenizer, "lstm")
    trained(model, tokenizer, tmp_path, train, wide_solver="steps")
    assert model.features.weight.any()
    ids, mask, _ = next(padded_batches(train, model))
    model.train()
    torch.manual_seed(0)
    both = model(ids, mask).logits
    with torch.no_grad():
        beside = model.features(model.model.token_words(ids, mask))
        model.features.weight.zero_()
    torch.manual_seed(0)
    assert_same(both.detach(), (model(ids, mask).logits + beside).detach(), 1e-5)


def test_what_has_no_features_or_no_validation_is_refused(tokenizer, train, validation, tmp_path):
    with pytest.raises(ValueError, match="or a tagger with feature_buckets: leave it out"):
        trained(made(tokenizer, "lstm", feature_buckets=0), tokenizer, tmp_path, train, validation)
    with pytest.raises(ValueError, match="chooses on validation texts: give eval_dataset with a column labels"):
        trained(made(tokenizer, "lstm"), tokenizer, tmp_path, train)
    with pytest.raises(
        StrictDataclassClassValidationError, match="feature_buckets=9 is about how words are spelled: set characters"
    ):
        LSTMConfig(feature_buckets=9)


@pytest.mark.parametrize(
    ("name", "value"), [("max_steps", 5), ("num_train_epochs", 2.0), ("learning_rate", 0.1)], ids=str
)
def test_what_only_steps_have_is_refused_of_a_linear_crf(name, value, tokenizer, train, tmp_path):
    with pytest.raises(ValueError, match=f"{name}={value} is for steps, and wide_solver='regression' takes none"):
        trained(made(tokenizer), tokenizer, tmp_path, train, **{name: value})
    trained(made(tokenizer), tokenizer, tmp_path, train, wide_solver="steps", **{name: value, "max_steps": 1})


def test_the_minutes_end_the_search(tokenizer, train, monkeypatch):
    monkeypatch.setattr(feature_regression, "_STEPS_A_ROUND", 1)
    model = made(tokenizer)
    short, whole = (fit_features(FeatureTexts(model, train), model, minutes=minutes) for minutes in (1e-9, None))
    assert short.loss > whole.loss


@pytest.mark.parametrize("kind", ["crf", "lstm"])
def test_a_loss_of_each_word_alone_is_refused_beside_a_crf(kind, tokenizer, train, tmp_path):
    with pytest.raises(ValueError, match="label_smoothing_factor=0.1 makes a loss of each word alone"):
        trained(made(tokenizer, kind), tokenizer, tmp_path, train, label_smoothing_factor=0.1)
