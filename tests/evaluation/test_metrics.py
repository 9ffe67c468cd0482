import multiprocessing
import socket
import warnings

import evaluate
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    EvalPrediction,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

from hfseq.evaluation import scores, trainer_metrics
from hfseq.evaluation.scores import (
    F1,
    R2,
    SCORES,
    Accuracy,
    BitsPerCharacter,
    MatthewsCorrelation,
    MeanSquaredError,
    NatsPerToken,
    PearsonCorrelation,
    Perplexity,
    SpearmanCorrelation,
)
from hfseq.evaluation.series import FORECASTS
from hfseq.evaluation.tags import EntityF1, EntityPrecision, EntityRecall
from hfseq.evaluation.trainer_metrics import (
    FRAMES,
    NODES,
    PROBLEMS,
    ROOT,
    ROOT_BINARY,
    TAGGING,
    classification_metrics,
)
from hfseq.evaluation.translation import METRICS
from tests.launches import HANGS
from tests.rounds import for_each

PREDICTED = [0, 1, 2, 2, 0, 1, 1]
EXPECTED = [0, 1, 2, 1, 0, 2, 1]
PREDICTED_SETS = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
EXPECTED_SETS = [[1, 0, 1], [0, 1, 0], [1, 1, 0]]
PREDICTED_VALUES = [0.5, 2.0, 1.0, 4.0]
EXPECTED_VALUES = [0.0, 1.0, 2.0, 5.0]
SURPRISALS = [3.0, 0.5, 4.5]
NUMBERS_OF_TOKENS = [2, 0, 2]

# (metric, its settings, the value of scikit-learn or scipy)
CLASSIFIERS = [
    (Accuracy, {}, sklearn.metrics.accuracy_score(EXPECTED, PREDICTED)),
    (F1, {}, sklearn.metrics.f1_score(EXPECTED, PREDICTED, average="macro")),
    (F1, {"average": "micro"}, sklearn.metrics.f1_score(EXPECTED, PREDICTED, average="micro")),
    (MatthewsCorrelation, {}, sklearn.metrics.matthews_corrcoef(EXPECTED, PREDICTED)),
]
MULTI_LABEL = [
    (Accuracy, {"config_name": "multilabel"}, 1 / 3),
    (F1, {"config_name": "multilabel"}, np.mean([2 / 3, 2 / 3, 1.0])),
    (F1, {"config_name": "multilabel", "average": "micro"}, 2 * 3 / (3 + 5)),
]
REGRESSORS = [
    (MeanSquaredError, {}, (0.25 + 1 + 1 + 1) / 4),
    (R2, {}, 1 - 3.25 / 14),
    (PearsonCorrelation, {}, np.corrcoef(EXPECTED_VALUES, PREDICTED_VALUES)[0, 1]),
    (SpearmanCorrelation, {}, 0.8),
]
LANGUAGE_MODELS = [
    (NatsPerToken, {}, 2.0),
    (Perplexity, {}, np.e**2),
    (BitsPerCharacter, {}, 2.0 * np.log2(np.e)),
]
PREDICTED_TAGS = [["B-a", "I-a", "O"], ["B-b"], ["O", "O"]]  # 1 of 2 told is right, of 3 to find
EXPECTED_TAGS = [["B-a", "I-a", "O"], ["B-a"], ["O", "B-b"]]
TAGGERS = [(EntityF1, {}, 0.4), (EntityPrecision, {}, 1 / 2), (EntityRecall, {}, 1 / 3)]
CASES = (
    [(*case, PREDICTED, EXPECTED) for case in CLASSIFIERS]
    + [(*case, PREDICTED_SETS, EXPECTED_SETS) for case in MULTI_LABEL]
    + [(*case, PREDICTED_VALUES, EXPECTED_VALUES) for case in REGRESSORS]
    + [(*case, SURPRISALS, NUMBERS_OF_TOKENS) for case in LANGUAGE_MODELS]
    + [(*case, PREDICTED_TAGS, EXPECTED_TAGS) for case in TAGGERS]
)


@pytest.fixture
def offline(monkeypatch):
    """Let any connection fail, so that a metric which asks the Hub is caught."""

    def refuse(*args, **kwargs):
        raise AssertionError("a metric opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@for_each(("metric", "settings", "value", "predictions", "references"), CASES)
def test_each_metric_gives_the_reference_value_without_network(
    metric, settings, value, predictions, references, tmp_path, offline
):
    made = metric(cache_dir=str(tmp_path), **settings)
    result = made.compute(predictions=predictions, references=references)
    assert result == pytest.approx({made.score_name: value})


@for_each(("metric", "settings", "value", "predictions", "references"), CASES)
def test_rows_added_singly_and_in_batches_score_as_one_call(
    metric, settings, value, predictions, references, tmp_path
):
    made = metric(cache_dir=str(tmp_path), **settings)
    made.add(prediction=predictions[0], reference=references[0])
    made.add_batch(predictions=predictions[1:], references=references[1:])
    assert made.compute() == pytest.approx({made.score_name: value})


@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_arrays_and_tensors_are_taken_as_lists_are(kind, tmp_path):
    result = Accuracy(cache_dir=str(tmp_path)).compute(predictions=kind(PREDICTED), references=kind(EXPECTED))
    assert result == pytest.approx({"accuracy": 5 / 7})


def test_hand_counted_values_of_one_small_confusion_table():
    # class 0: 2 of 2 right, never named wrongly; class 1: 2 of 3, one false; class 2: 1 of 2, one false
    score = classification_metrics("single_label_classification")
    result = score(EvalPrediction(predictions=np.eye(3)[PREDICTED], label_ids=np.array(EXPECTED)))
    assert result["accuracy"] == pytest.approx(5 / 7)
    assert result["f1_macro"] == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert result["f1_micro"] == pytest.approx(5 / 7)


def test_metrics_combine_into_one(tmp_path):
    combined = evaluate.combine([metric(cache_dir=str(tmp_path)) for metric in (Accuracy, F1, MatthewsCorrelation)])
    result = combined.compute(predictions=PREDICTED, references=EXPECTED)
    assert sorted(result) == ["accuracy", "f1_macro", "matthews_correlation"]


def test_every_score_is_made_by_a_metric_and_used_by_a_problem_or_for_language_models_and_taggers(tmp_path):
    made = {metric(cache_dir=str(tmp_path), **settings).score_name for metric, settings, *_ in CASES}
    used = {name for problem in PROBLEMS.values() for name in problem.scores}
    used |= {metric.score_name for metric, *_ in LANGUAGE_MODELS} | {
        name for names in TAGGING.values() for name in names
    }
    # Of written texts, intents with slots, trees, forecasts, and drawings.
    others = {*METRICS, *FRAMES, ROOT, NODES, ROOT_BINARY, *FORECASTS, "nats_per_step"}
    assert made == used == set(SCORES) - others


def test_every_metric_describes_itself(tmp_path):
    for metric, settings, *_ in CASES:
        made = metric(cache_dir=str(tmp_path), **settings)
        assert len(made.description) > 30
        assert "references" in made.inputs_description
        assert made.reference_urls[0].startswith("https://")


@for_each(
    ("metric", "predictions", "references", "message"),
    [
        (Accuracy, [], [], "no rows"),
        (SpearmanCorrelation, [], [], "no rows"),
        (Accuracy, [0, 1, 1], [0, 1], "3.*2"),
        (Accuracy, [0.2, 0.9], [0, 1], "class ids, not predictions such as 0.2"),
        (Accuracy, ["POSITIVE"], [1], "label_mapping"),
        (Accuracy, [1], None, "needs references"),
        (MeanSquaredError, [1.0, float("nan")], [1.0, 2.0], "prediction is nan"),
        (MeanSquaredError, [1.0, 2.0], [1.0, float("inf")], "reference is nan or infinite"),
        (R2, [1.0, 2.0], [3.0, 3.0], "all 2 references equal 3.0"),
        (Perplexity, [1.0, 2.0], [0, 0], r"divide by, got \[0.0, 0.0\]"),
        (BitsPerCharacter, [1.0, 2.0], [5, -1], "divide by"),
        (PearsonCorrelation, [1.0, 2.0], [3.0, 3.0], "all 2 references equal 3.0"),
        (SpearmanCorrelation, [1.0, 2.0], [3.0, 3.0], "all 2 references equal 3.0"),
    ],
)
def test_what_cannot_be_scored_is_a_clear_error(metric, predictions, references, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        metric(cache_dir=str(tmp_path)).compute(predictions=predictions, references=references)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: F1(average="weighted"), "'weighted'"),
        (lambda: MatthewsCorrelation("multilabel"), "no configuration 'multilabel'"),
        (lambda: classification_metrics("tagging"), "'tagging'.*regression"),
    ],
)
def test_an_unknown_choice_is_named_with_the_known_ones(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_constant_predictions_score_zero_and_never_nan(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(scipy.stats.spearmanr(EXPECTED_VALUES, [1.0] * 4).statistic)  # what the guard is for
    spearman = SpearmanCorrelation(cache_dir=str(tmp_path)).compute(predictions=[1.0] * 4, references=EXPECTED_VALUES)
    pearson = PearsonCorrelation(cache_dir=str(tmp_path)).compute(predictions=[1.0] * 4, references=EXPECTED_VALUES)
    assert pearson["pearson"] == 0.0
    matthews = MatthewsCorrelation(cache_dir=str(tmp_path)).compute(predictions=[1] * 7, references=EXPECTED)
    assert (spearman["spearman"], matthews["matthews_correlation"]) == (0.0, 0.0)


@pytest.mark.filterwarnings("error")
def test_a_label_never_predicted_counts_zero_without_a_warning(tmp_path):
    result = F1(cache_dir=str(tmp_path)).compute(predictions=[0, 0], references=[0, 1])
    assert result["f1_macro"] == pytest.approx((2 / 3 + 0) / 2)


def test_single_label_logits_are_scored_by_argmax_without_ignored_labels():
    logits = np.eye(3)[[0, 1, 2, 2]]
    score = classification_metrics("single_label_classification")
    ignored = score(EvalPrediction(predictions=logits, label_ids=np.array([0, 1, 1, -100])))
    assert ignored["accuracy"] == pytest.approx(2 / 3)
    assert sorted(ignored) == ["accuracy", "f1_macro", "f1_micro", "matthews_correlation"]


def test_multi_label_logits_are_scored_by_a_half_without_ignored_rows():
    logits = np.array([[3.0, -1.0], [0.1, 0.1], [9.0, 9.0]])
    labels = np.array([[1.0, 0.0], [1.0, 0.0], [-100.0, 1.0]])
    result = classification_metrics("multi_label_classification")(EvalPrediction(logits, labels))
    assert result == pytest.approx({"accuracy": 1 / 2, "f1_macro": 1 / 2, "f1_micro": 4 / 5})


def test_regression_outputs_are_scored_as_they_are_and_minus_100_is_a_number():
    logits = np.array([[-100.0], [1.0], [2.5]], dtype=np.float32)
    labels = np.array([-100.0, 1.0, 2.0], dtype=np.float32)
    result = classification_metrics("regression")(EvalPrediction(logits, labels))
    assert result["mse"] == pytest.approx(0.25 / 3)
    assert result["spearman"] == pytest.approx(1.0)
    assert sorted(result) == ["mse", "pearson", "r2", "spearman"]


def test_of_several_outputs_the_logits_count():
    logits, labels = np.eye(2), np.array([0, 1])
    score = classification_metrics("single_label_classification")
    with_state = score(EvalPrediction(predictions=(logits, np.zeros((2, 8))), label_ids=labels))
    assert with_state == score(EvalPrediction(predictions=logits, label_ids=labels))


@pytest.mark.parametrize(
    ("problem_type", "logits", "labels", "message"),
    [
        ("single_label_classification", [[np.nan, 1.0]], [1], "diverged"),
        ("single_label_classification", [[0.0, 1.0]], [-100], "no rows"),
        ("regression", [[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0], "num_labels=1"),
    ],
)
def test_logits_that_cannot_be_scored_are_a_clear_error(problem_type, logits, labels, message):
    with pytest.raises(ValueError, match=message):
        classification_metrics(problem_type)(EvalPrediction(np.array(logits), np.array(labels)))


def test_without_the_guard_a_diverged_model_would_get_a_score():
    logits = np.array([[np.nan, 1.0], [np.nan, 1.0]])
    predictions, references = trainer_metrics._single_label(logits, np.array([0, 0]))
    assert (predictions == references).all()  # argmax of nan looks perfect: the reason for the guard


@pytest.fixture(scope="module")
def tokenizer():
    words = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "film": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=5,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            max_position_embeddings=16,
            id2label={0: "neg", 1: "pos"},
            label2id={"neg": 0, "pos": 1},
            problem_type="single_label_classification",
        )
    ).eval()


TEXTS = ["good film", "bad film", "film", "good good bad film"] * 3
LABELS = [1, 0, 0, 1] * 3


def predicted_by_hand(model, tokenizer):
    with torch.no_grad():
        return [model(**tokenizer(text, return_tensors="pt")).logits.argmax().item() for text in TEXTS]


def test_the_evaluator_scores_a_model_with_our_metric(model, tokenizer, tmp_path):
    result = evaluate.evaluator("text-classification").compute(
        model_or_pipeline=model,
        tokenizer=tokenizer,
        data=Dataset.from_dict({"text": TEXTS, "label": LABELS}),
        metric=Accuracy(cache_dir=str(tmp_path)),
        label_mapping={"neg": 0, "pos": 1},
    )
    expected = np.mean(np.array(predicted_by_hand(model, tokenizer)) == LABELS)
    assert result["accuracy"] == pytest.approx(expected)


def test_the_trainer_reports_every_score(model, tokenizer, tmp_path):
    rows = Dataset.from_dict({**tokenizer(TEXTS), "labels": LABELS})
    trainer = Trainer(
        model=model,
        args=TrainingArguments(output_dir=str(tmp_path), report_to=[], use_cpu=True),
        eval_dataset=rows,
        processing_class=tokenizer,
        compute_metrics=classification_metrics("single_label_classification"),
    )
    result = trainer.evaluate()
    expected = predicted_by_hand(model, tokenizer)
    assert result["eval_accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(LABELS, expected))
    assert result["eval_f1_macro"] == pytest.approx(
        sklearn.metrics.f1_score(LABELS, expected, average="macro", zero_division=0)
    )


def score_shard(process_id, shards, folder, metric_name, answers):
    metric = getattr(scores, metric_name)(cache_dir=folder, num_process=2, process_id=process_id, experiment_id="two")
    predictions, references = shards[process_id]
    metric.add_batch(predictions=predictions, references=references)
    answers.put((process_id, metric.compute()))


@pytest.mark.parametrize(
    ("metric_name", "predictions", "references", "cut"),
    [
        ("F1", PREDICTED, EXPECTED, 5),
        ("SpearmanCorrelation", PREDICTED_VALUES, EXPECTED_VALUES, 3),
        ("Accuracy", PREDICTED, EXPECTED, 7),  # the second process has no rows
    ],
)
def test_two_processes_with_uneven_shards_score_as_one(metric_name, predictions, references, cut, tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    shards = [(predictions[:cut], references[:cut]), (predictions[cut:], references[cut:])]
    arguments = (shards, str(tmp_path), metric_name, answers)
    processes = [context.Process(target=score_shard, args=(i, *arguments)) for i in range(2)]
    for process in processes:
        process.start()
    received = dict(answers.get(timeout=HANGS) for _ in processes)
    for process in processes:
        process.join(timeout=HANGS)

    whole = getattr(scores, metric_name)(cache_dir=str(tmp_path)).compute(
        predictions=predictions, references=references
    )
    assert received == {0: whole, 1: None}
