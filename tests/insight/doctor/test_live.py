"""`diagnose` on trainers that have really trained, each in a second, with and without a planted fault."""

import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding, Trainer, TrainingArguments

import hfseq
from hfseq import (
    GRUConfig,
    GRUForSequenceClassification,
    LSTMConfig,
    LSTMForCausalLM,
    LSTMForTokenClassification,
    RNNConfig,
    RNNForSequenceClassification,
    SequenceTrainer,
    SequenceTrainingArguments,
    StreamTrainer,
    StreamTrainingArguments,
    TokenText,
    train_tokenizer,
)
from hfseq.insight.doctor.gathering import gather
from hfseq.insight.doctor.report import examine

from .conftest import WORDS, texts_of

ROWS = texts_of(360, 0)
TOKENIZER = train_tokenizer([text for text, _ in ROWS[:200]], min_frequency=1)
NAMES = dict(enumerate(WORDS))
IDS = {name: index for index, name in NAMES.items()}


def tokens(rows):
    return Dataset.from_dict(
        {"input_ids": TOKENIZER([text for text, _ in rows])["input_ids"], "labels": [IDS[label] for _, label in rows]}
    )


TRAIN, HELD_OUT = tokens(ROWS[:200]), tokens(ROWS[200:])


def classifier(kind=GRUForSequenceClassification, config=GRUConfig, **options):
    torch.manual_seed(0)
    sizes = {
        "embedding_size": 16,
        "hidden_size": 32,
        "bidirectional": True,
        "pooling": "max",
        "hidden_dropout": 0.3,
        "classifier_dropout": 0.3,
        "vocab_size": len(TOKENIZER),
        "id2label": NAMES,
        "label2id": IDS,
    }
    return kind(config(**{**sizes, **options}))


def trained(folder, model, train=TRAIN, trainer=SequenceTrainer, **options):
    ours = trainer is SequenceTrainer
    usual = {
        "learning_rate": 2e-2,
        "num_train_epochs": 4,
        "logging_steps": 10,
        "eval_strategy": "epoch",
        "seed": 0,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "max_grad_norm": 1.0,
    }
    arguments = (SequenceTrainingArguments if ours else TrainingArguments)(output_dir=folder, **{**usual, **options})
    made = trainer(model, arguments, train_dataset=train, eval_dataset=HELD_OUT, processing_class=TOKENIZER)
    made.train()
    return made


@pytest.mark.parametrize("kind", [SequenceTrainer, Trainer])
def test_a_healthy_training_gets_a_clean_bill_and_is_left_as_it_was(tmp_path, kind):
    trainer = trained(tmp_path, classifier(), trainer=kind)
    trainer.model.train()
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    gradients = [None if each.grad is None else each.grad.clone() for each in trainer.model.parameters()]
    state = torch.get_rng_state()
    report = hfseq.diagnose(trainer)
    assert report.findings == [], str(report)
    assert report.num_checks >= 25
    assert "gradient-vanishes" not in report.left_out
    assert trainer.model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    for parameter, gradient in zip(trainer.model.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)


def relu_dead():
    model = classifier(RNNForSequenceClassification, RNNConfig, nonlinearity="relu")
    with torch.no_grad():
        for loop in (model.model.layers[0].forward_loop, model.model.layers[0].backward_loop):
            loop.bias.fill_(-100.0)
    return model


def saturated():
    model = classifier(RNNForSequenceClassification, RNNConfig)
    with torch.no_grad():
        for loop in (model.model.layers[0].forward_loop, model.model.layers[0].backward_loop):
            loop.bias.copy_(100.0 * torch.sign(torch.randn_like(loop.bias)))
    return model


def stuck():
    model = classifier()
    with torch.no_grad():
        model.model.layers[0].forward_loop.bias[:64] = 50.0  # reset and update gates
    return model


def shifted():
    return TRAIN.map(lambda row: {"labels": 1 + row["labels"] % 2})


def noisy():
    """A tenth of the labels are those of the next class."""
    return TRAIN.map(lambda row, index: {"labels": (row["labels"] + (index % 10 == 0)) % 3}, with_indices=True)


TRAINED = {  # finding -> the model, the training rows, and the arguments in which the fault is planted
    "learning-rate-too-low": (classifier, TRAIN, {"learning_rate": 1e-6, "num_train_epochs": 2}),
    "never-evaluated": (classifier, TRAIN, {"eval_strategy": "no"}),
    "embeddings-never-learn": (lambda: classifier(freeze_embeddings=True), TRAIN, {"num_train_epochs": 1}),
    "dead-units": (relu_dead, TRAIN, {"num_train_epochs": 1}),
    "saturated-units": (saturated, TRAIN, {"num_train_epochs": 1}),
    "stuck-gates": (stuck, TRAIN, {"num_train_epochs": 1, "learning_rate": 1e-3}),
    "unused-labels": (classifier, shifted(), {"num_train_epochs": 1}),
    "sure-of-another-label": (classifier, noisy(), {"num_train_epochs": 4}),
    "repeated-texts": (classifier, tokens(ROWS[:60] * 3), {"num_train_epochs": 1}),
    "test-rows-in-train": (classifier, tokens(ROWS[:230]), {"num_train_epochs": 1}),
    "overfits": (
        lambda: classifier(hidden_dropout=0.0, classifier_dropout=0.0),
        TRAIN.select(range(12)),
        {"num_train_epochs": 30, "eval_strategy": "steps", "eval_steps": 15},
    ),
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_fault_of_a_real_training_is_named(tmp_path, name):
    make, train, options = TRAINED[name]
    report = hfseq.diagnose(trained(tmp_path, make(), train, **options))
    assert name in report.names, str(report)


def tagged_rows(count, *, padded=False, later=True):
    """The tag of a word `x` is told by the word behind it, or by the one before it; all other words have tag 0."""
    generator = torch.Generator().manual_seed(count)
    rows = {"input_ids": [], "labels": []}
    for _ in range(count):
        told = int(torch.randint(0, 2, (1,), generator=generator))
        fill = torch.randint(8, 12, (3,), generator=generator).tolist()
        pair = [5, 6 + told] if later else [6 + told, 5]
        rows["input_ids"].append([*fill, *pair])
        labels = [0, 0, 0, *([1 + told, 0] if later else [0, 1 + told])]
        rows["labels"].append(labels)
    return Dataset.from_dict(rows)


def tagging(folder, train, *, bidirectional, collator=None):
    torch.manual_seed(0)
    config = LSTMConfig(vocab_size=12, embedding_size=8, hidden_size=16, bidirectional=bidirectional, num_labels=3)
    arguments = SequenceTrainingArguments(
        folder,
        learning_rate=2e-2,
        num_train_epochs=1,
        logging_steps=5,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        eval_strategy="epoch",
    )
    made = SequenceTrainer(
        LSTMForTokenClassification(config),
        arguments,
        train_dataset=train,
        eval_dataset=tagged_rows(99),
        data_collator=collator or DataCollatorForTokenClassification(TOKENIZER),
    )
    made.train()
    return made


def test_a_tagger_that_has_not_read_the_word_that_tells_is_named(tmp_path):
    report = hfseq.diagnose(tagging(tmp_path, tagged_rows(200), bidirectional=False))
    assert "needs-later-words" in report.names
    other = hfseq.diagnose(tagging(tmp_path, tagged_rows(200), bidirectional=True))
    assert "needs-later-words" not in other.names


def test_the_loss_on_padding_is_named(tmp_path):
    longer = tagged_rows(60).map(
        lambda row, index: {
            "input_ids": [8] * (index % 7) + row["input_ids"],
            "labels": [0] * (index % 7) + row["labels"],
        },
        with_indices=True,
    )

    def collate(rows):
        batch = DataCollatorForTokenClassification(TOKENIZER)(rows)
        batch["labels"][batch["labels"] == -100] = 0
        return batch

    right = hfseq.diagnose(tagging(tmp_path, longer, bidirectional=True))
    wrong = hfseq.diagnose(tagging(tmp_path, longer, bidirectional=True, collator=collate))
    assert "padding-in-loss" in wrong.names
    assert "padding-in-loss" not in right.names


def test_a_language_model_is_examined_too(tmp_path):
    text = TokenText.from_documents([[(start + index) % 20 for index in range(50)] for start in range(20)])
    other = TokenText.from_documents([[(start + index) % 20 for index in range(40)] for start in range(5)])
    model = LSTMForCausalLM(LSTMConfig(vocab_size=20, embedding_size=16, hidden_size=32))
    for rate, is_bad in ((2e-2, False), (1e-7, True)):
        arguments = StreamTrainingArguments(
            tmp_path,
            learning_rate=rate,
            num_train_epochs=4,
            window=25,
            logging_steps=5,
            per_device_train_batch_size=4,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = StreamTrainer(type(model)(model.config), arguments, train_dataset=text, eval_dataset=other)
        trainer.train()
        assert ("no-better-than-counts" in hfseq.diagnose(trainer).names) is is_bad


def test_what_is_no_trainer_is_refused():
    with pytest.raises(TypeError, match="diagnose examines a Trainer, got str: for a folder, hfseq doctor RUN"):
        hfseq.diagnose("runs/x")


def test_rows_without_labels_leave_checks_out(tmp_path):
    trainer = trained(tmp_path, classifier(), num_train_epochs=1)
    trainer.data_collator = DataCollatorWithPadding(TOKENIZER)
    trainer.train_dataset = None
    report = hfseq.diagnose(trainer)
    assert report.left_out["cut-texts"] == "the training data could not be read"


def test_data_larger_than_what_is_read_are_examined(tmp_path, monkeypatch):
    """`hfseq doctor` hands over the texts of all rows, and the doctor reads the tokens of some."""
    monkeypatch.setattr("hfseq.insight.doctor.gathering._READ", 50)
    texts = {"train": [text for text, _ in ROWS[:200]], "validation": [text for text, _ in ROWS[200:]]}
    found = gather(
        classifier(), {"train": TRAIN, "validation": HELD_OUT}, DataCollatorWithPadding(TOKENIZER), texts=texts
    )
    assert len(found.train) == len(found.train.texts) == len(found.train.lengths) == 50
    assert "unused-labels" not in examine(found).names


def untrained(folder, model, train, held_out=HELD_OUT):
    arguments = TrainingArguments(output_dir=folder, report_to="none", use_cpu=True, remove_unused_columns=False)
    return Trainer(model, arguments, train_dataset=train, eval_dataset=held_out, processing_class=TOKENIZER)


def test_rows_that_are_no_tokens_leave_their_checks_out(tmp_path):
    for rows in ([("a text", 1)] * 8, Dataset.from_dict({"text": ["a text"] * 8, "labels": [0] * 8})):
        report = hfseq.diagnose(untrained(tmp_path, classifier(), rows))
        assert "have no input_ids" in report.left_out["repeated-texts"]


def test_rows_without_a_label_leave_the_questions_out(tmp_path):
    nothing = HELD_OUT.map(lambda row: {"labels": -100})
    report = hfseq.diagnose(untrained(tmp_path, classifier(), TRAIN, nothing))
    assert report.left_out["never-answered"] == "no row that was read has a label"


def test_a_regression_is_told_why_it_is_not_asked(tmp_path):
    model = classifier(id2label={0: "stars"}, label2id={"stars": 0}, problem_type="regression")
    stars = TRAIN.map(lambda row: {"labels": float(row["labels"])})
    report = hfseq.diagnose(untrained(tmp_path, model, stars, stars))
    assert "are not asked" in report.left_out["dead-units"]
    assert not {"learns-nothing", "embeddings-never-learn"} & set(report.names)


def test_embeddings_of_a_checkpoint_may_be_frozen(tmp_path):
    classifier(freeze_embeddings=True).save_pretrained(tmp_path / "model")
    model = GRUForSequenceClassification.from_pretrained(tmp_path / "model")
    assert "embeddings-never-learn" not in hfseq.diagnose(untrained(tmp_path, model, TRAIN)).names


def test_the_first_rows_of_many_do_not_say_which_labels_there_are(tmp_path, monkeypatch):
    monkeypatch.setattr("hfseq.insight.doctor.gathering._READ", 60)
    by_label = TRAIN.sort("labels")
    assert "unused-labels" not in hfseq.diagnose(untrained(tmp_path, classifier(), by_label)).names
