"""The decoding of a CRF: the better one on validation, in the checkpoint, the card and the pipeline alike."""

import pytest
from huggingface_hub.errors import StrictDataclassClassValidationError
from transformers import AutoConfig, pipeline

from hfseq.cards.render import load_facts, render_card
from hfseq.evaluation.trainer_metrics import FRAMES, INTENT_SLOTS, TAGGING
from hfseq.tasks.tagging.decoding import choose_decoding
from hfseq.tasks.tagging.facts import DECODINGS, DecodingFacts
from tests.tasks.tagging.taggers import SENTENCES, facts_of, small_settings, tagged_task


class Scored:
    """A trainer whose model scores as it is told, and says which decodings it was asked for."""

    def __init__(self, scores, crf=True, metric=None):
        self.scores, self.asked = scores, []
        self.args = type("Arguments", (), {"metric_for_best_model": metric})()
        config = type("Config", (), {"decoding": "viterbi"})()
        self.model = type("Model", (), {"config": config, "crf": object() if crf else None})()

    def score(self, dataset):
        self.asked.append(self.model.config.decoding)
        score = self.scores[self.model.config.decoding]
        return None, {**dict.fromkeys((*TAGGING["entities"], *FRAMES), score), "accuracy": 1 - score}


@pytest.mark.parametrize(
    ("viterbi", "marginal", "named", "chosen"),
    [
        (0.8, 0.7, None, "viterbi"),
        (0.7, 0.8, None, "marginal"),
        (0.7, 0.7, None, "viterbi"),
        (0.7, 0.8, "viterbi", "viterbi"),
        (0.8, 0.7, "marginal", "marginal"),
    ],
)
def test_the_better_decoding_is_kept_unless_one_is_named(viterbi, marginal, named, chosen):
    scores = {"viterbi": viterbi, "marginal": marginal}
    trainer = Scored(scores)
    found = choose_decoding(trainer, None, "entities", named=named)
    assert found == DecodingFacts(chosen=chosen, named=named is not None, metric="entity_f1", scores=scores)
    assert trainer.model.config.decoding == chosen
    assert trainer.asked == list(DECODINGS)


@pytest.mark.parametrize(
    ("problem", "metric", "score", "chosen"),
    [
        ("entities", None, "entity_f1", "marginal"),
        ("entities", "loss", "entity_f1", "marginal"),
        ("entities", "eval_accuracy", "accuracy", "viterbi"),
        (INTENT_SLOTS, None, "frame_accuracy", "marginal"),
        (INTENT_SLOTS, "slot_f1", "slot_f1", "marginal"),
    ],
)
def test_the_score_that_chose_the_model_chooses_the_decoding(problem, metric, score, chosen):
    found = choose_decoding(Scored({"viterbi": 0.7, "marginal": 0.8}, metric=metric), None, problem, named=None)
    assert (found.metric, found.chosen) == (score, chosen)


def test_without_a_crf_nothing_is_measured():
    trainer = Scored({}, crf=False)
    assert choose_decoding(trainer, None, "entities", named=None) is None
    assert trainer.asked == []


def test_facts_hold_both_scores():
    with pytest.raises(StrictDataclassClassValidationError, match=r"'marginal'\), got \('viterbi',\)"):
        DecodingFacts(chosen="viterbi", named=False, metric="accuracy", scores={"viterbi": 0.5})


@pytest.mark.parametrize(("problem", "family"), [("entities", "lstm"), ("tags", "transformer")])
def test_model_card_and_pipeline_have_the_same_decoding(problem, family, tmp_path):
    settings, task = small_settings(tmp_path, family), tagged_task(problem)
    settings.model |= {"crf": True}
    facts, predictions, trainer = facts_of(settings, task, tmp_path)
    chosen = facts.decoding.chosen
    assert AutoConfig.from_pretrained(tmp_path / "model").decoding == chosen == trainer.model.config.decoding
    facts.save(tmp_path / "facts.json")
    assert load_facts(tmp_path / "facts.json") == facts
    card = " ".join(render_card(facts).split())
    (other,) = set(DECODINGS) - {chosen}
    own, others = (f"{100 * facts.decoding.scores[each]:.1f}" for each in (chosen, other))
    score = "Entity F1" if problem == "entities" else "Accuracy"
    told = f"Its decoding is `{chosen}`, chosen on validation ({score} {own} on validation, {others} with `{other}`)."
    assert told in card
    assert "with a CRF" in card
    assert facts.runs[0].metrics["accuracy"] > 0.9
    pipe = pipeline("token-classification", model=str(tmp_path / "model"), ignore_labels=[])
    for sentence, row in zip(SENTENCES[:6], predictions, strict=False):
        names = [pipe.model.config.id2label[tag] for tag in row[: len(sentence.split())]]
        assert [each["entity"] for each in pipe(sentence)] == names


def test_the_card_says_that_the_settings_named_it(tmp_path):
    settings = small_settings(tmp_path)
    settings.model |= {"crf": True, "decoding": "marginal"}
    settings.training["max_steps"] = 1
    facts, _, _ = facts_of(settings, tagged_task(), tmp_path)
    assert "Its decoding is `marginal`, as the settings say (Entity F1 " in render_card(facts)


def test_a_decoding_without_a_crf_is_refused(tmp_path):
    for crf in ({}, {"crf": False}):
        settings = small_settings(tmp_path)
        settings.model |= {"decoding": "marginal", **crf}
        with pytest.raises(
            ValueError, match="model.decoding='marginal' is how a CRF chooses tags: set model.crf=true"
        ):
            settings.__post_init__()
