"""A pretrained body under a new head: what is kept, which layer learns how fast and from when on."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DataCollatorForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainerCallback,
    pipeline,
)

from hfseq import FAMILIES, load_embedded
from hfseq.cards.pictures import pictures_in
from hfseq.cards.render import check_card
from hfseq.tasks.text_classification.facts import CardFacts
from hfseq.tokenization import prompt_tokenizer, train_tokenizer
from hfseq.training.fine_tuning import parameter_depths
from hfseq.training.trainer import SequenceTrainer
from tests.contract.cases import VOCABULARY, texts, tokenizer
from tests.contract.promises import same_weights
from tests.rounds import for_each
from tests.tasks.base import RECIPES
from tests.training.trainers import DROPOUT, distinct_texts, make_trainer, small_model

HEADS = ("text-classification", "token-classification")
SIZES = {"vocab_size": len(VOCABULARY), "embedding_size": 6, "hidden_size": 8, "num_hidden_layers": 2}
KINDS = {
    "plain": {},
    "tied": {"tie_word_embeddings": True, "last_hidden_size": 6},
    "adaptive": {"adaptive_softmax_cutoffs": [8]},
    "awd": {"weight_drop": 0.4, "dropout_kind": "locked", "embedding_dropout": 0.1, "hidden_dropout": 0.3},
}


@pytest.fixture
def make(tmp_path):
    """`make_trainer` in an empty folder."""
    return partial(make_trainer, tmp_path)


def language_model(family="lstm", **options):
    """A small language model, the same one every time."""
    torch.manual_seed(1)
    row = FAMILIES[family]
    return row.heads["text-generation"](row.config(**SIZES, **options))


def deep_model(**options):
    """A classifier of three layers: five depths."""
    return small_model(num_hidden_layers=3, **options)


def depths_by_name(model):
    depths = parameter_depths(model)
    return {name: depths[parameter] for name, parameter in model.named_parameters()}


def rates(trainer):
    """The learning rate and the weight decay of each parameter, by its name."""
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    groups = trainer.optimizer.param_groups
    return {names[p]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


# The body of a language model under another head


@for_each("task", HEADS)
@for_each(
    ("family", "kind"), [*(("lstm", kind) for kind in KINDS), ("rnn", "tied"), ("gru", "plain"), ("custom", "plain")]
)
def test_the_body_of_a_language_model_is_kept_to_the_bit(tmp_path, family, task, kind):
    model = language_model(family, **KINDS[kind])
    model.save_pretrained(tmp_path)
    head = FAMILIES[family].heads[task]
    loaded, info = head.from_pretrained(tmp_path, num_labels=17, output_loading_info=True)
    assert same_weights(loaded.model, model.model)
    assert info["missing_keys"] == {"classifier.weight", "classifier.bias"}
    assert all(key.startswith("lm_head.") for key in info["unexpected_keys"])
    assert loaded.config.weight_drop == model.config.weight_drop
    assert (loaded.config.num_labels, loaded.classifier.out_features) == (17, 17)
    bound = math.sqrt(6 / (loaded.classifier.in_features + 17))  # of Xavier
    assert 0.5 * bound < loaded.classifier.weight.abs().max() <= bound
    assert not loaded.classifier.bias.any()
    loaded.save_pretrained(tmp_path / "tuned")
    assert same_weights(head.from_pretrained(tmp_path / "tuned"), loaded)  # an ordinary checkpoint of its own


def test_keywords_change_the_language_models_config(tmp_path):
    language_model(hidden_dropout=0.3, weight_drop=0.2).save_pretrained(tmp_path)
    head = FAMILIES["lstm"].heads["text-classification"]
    config = head.from_pretrained(tmp_path, pooling="mean_max", hidden_dropout=0.5, num_labels=2).config
    assert (config.pooling, config.hidden_dropout, config.weight_drop) == ("mean_max", 0.5, 0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 9}, "another shape than LSTMForSequenceClassification"),
        ({"num_hidden_layers": 3}, "lacks model.layers.2."),
        ({"num_hidden_layers": 1}, "has unexpected model.layers.1."),
        ({"bidirectional": True}, "another shape than LSTMForSequenceClassification"),
    ],
)
def test_a_body_that_the_language_model_does_not_have_is_refused(tmp_path, options, message):
    language_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        FAMILIES["lstm"].heads["text-classification"].from_pretrained(tmp_path, **options)


def test_a_tagger_learns_on_the_body_of_a_language_model(tmp_path, make):
    language_model().save_pretrained(tmp_path / "lm")
    start = FAMILIES["lstm"].heads["token-classification"].from_pretrained(tmp_path / "lm", num_labels=3)
    rows = texts(52).map(lambda row: {"labels": [i % 3 for i in row["input_ids"]]})
    trainer = make(
        model=start,
        rows=rows,
        collator=DataCollatorForTokenClassification(tokenizer()),
        total_train_batch_size=16,
        num_train_epochs=12,
        learning_rate=0.1,
        layer_rate_decay=0.8,
        unfreeze_every=1,
    )
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged[0] > 0.9
    assert logged[-1] < 0.3


# Depths


def test_the_depth_of_a_parameter_follows_from_where_it_stands():
    depths = depths_by_name(small_model(num_hidden_layers=2, bidirectional=True, pooling="attention"))
    expected = {"model.embed_tokens": 0, "model.layers.0": 1, "model.layers.1": 2, "pooling": 3, "classifier": 3}
    for name, depth in depths.items():
        (start,) = [start for start in expected if name.startswith(f"{start}.")]
        assert depth == expected[start], name
    assert set(depths.values()) == {0, 1, 2, 3}


@pytest.mark.parametrize(("tied", "embeddings"), [(False, 0), (True, 3)])
def test_embeddings_that_are_output_weights_belong_to_the_head(tied, embeddings):
    depths = depths_by_name(language_model(**(KINDS["tied"] if tied else {})))
    assert depths["model.embed_tokens.weight"] == embeddings
    assert depths["lm_head.bias"] == 3


def test_models_of_transformers_have_depths_too():
    sizes = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
    depths = depths_by_name(BertForSequenceClassification(BertConfig(**sizes, intermediate_size=8)))
    assert depths["bert.embeddings.LayerNorm.weight"] == 0
    assert depths["bert.encoder.layer.1.attention.self.query.weight"] == 2
    assert depths["bert.pooler.dense.weight"] == 3
    assert depths["classifier.bias"] == 4
    depths = depths_by_name(GPT2ForSequenceClassification(GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2)))
    assert (depths["transformer.wpe.weight"], depths["transformer.h.0.ln_1.weight"]) == (0, 1)
    assert (depths["transformer.ln_f.weight"], depths["score.weight"]) == (2, 3)


def test_models_without_one_stack_of_layers_are_answered_with_what_they_have():
    config = T5Config(vocab_size=20, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    with pytest.raises(
        ValueError,
        match="T5ForConditionalGeneration holds the lists encoder.block, decoder.block, .* need exactly one",
    ):
        parameter_depths(T5ForConditionalGeneration(config))
    words = FAMILIES["word2vec"]
    with pytest.raises(ValueError, match="Word2VecModel holds no list of layers"):
        parameter_depths(words.backbone(words.config(vocab_size=5)))
    with pytest.raises(ValueError, match="got Linear"):
        parameter_depths(nn.Linear(1, 1))


# Rates


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd", "adafactor"])
def test_each_layer_has_its_share_of_the_rate_and_no_bias_is_decayed(make, optim):
    trainer = make(
        model=deep_model(), layer_rate_decay=0.5, learning_rate=0.08, weight_decay=0.1, optim=optim, max_steps=1
    )
    trainer.train()
    plain = make(model=deep_model(), weight_decay=0.1, optim=optim)
    plain.create_optimizer()
    found, stock = rates(trainer), rates(plain)
    assert found.keys() == stock.keys()
    for name, depth in depths_by_name(trainer.model).items():
        assert found[name] == (pytest.approx(0.08 * 0.5 ** (4 - depth), rel=1e-12), stock[name][1]), name
    assert {name for name in found if "bias" in name} == {name for name in found if found[name][1] == 0.0}
    assert trainer.state.log_history[0]["learning_rate"] == 0.08  # what is logged is the head's


def test_a_schedule_moves_all_rates_alike(make):
    class Reader(TrainerCallback):
        seen = []

        def on_step_end(self, args, state, control, optimizer, **kwargs):
            self.seen.append([group["lr"] for group in optimizer.param_groups])

    trainer = make(
        model=deep_model(),
        layer_rate_decay=0.5,
        lr_scheduler_type="linear",
        warmup_steps=2,
        learning_rate=1.0,
        max_steps=6,
        callbacks=[Reader()],
    )
    trainer.train()
    assert [step[0] for step in Reader.seen] == pytest.approx([0.5, 1.0, 0.75, 0.5, 0.25, 0.0])
    shares = [0.5**0, 0.5**0, 0.5**1, 0.5**1, 0.5**2, 0.5**2, 0.5**3, 0.5**3, 0.5**4]  # decayed and not; no bias last
    for step in Reader.seen:
        assert step == pytest.approx([step[0] * share for share in shares])


def test_a_share_of_one_trains_the_model_that_no_share_trains(make):
    models = []
    for options in ({}, {"layer_rate_decay": 1.0}):
        trainer = make(model=deep_model(**DROPOUT), weight_decay=0.1, max_steps=5, **options)
        trainer.train()
        models.append(trainer.model)
    assert same_weights(*models)


def test_embeddings_that_the_config_freezes_stay_out(make):
    trainer = make(model=deep_model(freeze_embeddings=True), layer_rate_decay=0.5, unfreeze_every=0.5, max_steps=8)
    start = trainer.model.get_input_embeddings().weight.clone()
    trainer.train()
    assert "model.embed_tokens.weight" not in rates(trainer)
    assert torch.equal(trainer.model.get_input_embeddings().weight, start)


def test_an_optimizer_of_ones_own_keeps_its_rates(make, tmp_path):
    model = deep_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    args = make(layer_rate_decay=0.5).args
    with pytest.raises(ValueError, match="layer_rate_decay=0.5 sets the rates of .* Leave one of the two out"):
        SequenceTrainer(model, args, optimizers=(optimizer, None))


# Freezing


class Watch(TrainerCallback):
    """Keeps, for each update, which depths moved, and the gradients' norm over those that had one."""

    def on_train_begin(self, args, state, control, model, **kwargs):
        self.moved, self.norms, self.reported = [], [], []
        self.model = model
        self.before = {parameter: parameter.detach().clone() for parameter in model.parameters()}

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        grads = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        self.norms.append(torch.stack([grad.norm() for grad in grads]).norm().item())

    def on_step_end(self, args, state, control, **kwargs):
        depths = parameter_depths(self.model)
        self.moved.append({depths[p] for p, old in self.before.items() if not torch.equal(p, old)})
        self.before = {parameter: parameter.detach().clone() for parameter in self.before}

    def on_log(self, args, state, control, logs, **kwargs):
        if "grad_norm" in logs:
            self.reported.append(logs["grad_norm"])


@pytest.mark.parametrize(("every", "optim"), [(1, "sgd"), (1 / 3, "adamw_torch_fused"), (2, "adamw_torch_fused")])
def test_layers_start_one_by_one_from_above_and_are_not_touched_before(make, every, optim):
    """Weight decay is on: an optimizer that had a gradient of zeros would shrink what is frozen."""
    watch = Watch()
    make(
        model=deep_model(),
        callbacks=[watch],
        rows=texts(48),
        unfreeze_every=every,
        weight_decay=0.5,
        optim=optim,
        optim_args="momentum=0.9" if optim == "sgd" else None,
        total_train_batch_size=8,  # 6 updates an epoch
        gradient_accumulation_steps=2,
        num_train_epochs=5,
        max_grad_norm=0.0,
    ).train()
    assert len(watch.moved) == 30
    for step, moved in enumerate(watch.moved):
        assert moved == set(range(4, max(-1, 3 - round(step / 6 / every - 0.5 + 1e-6)), -1)), step


def test_the_clipped_norm_is_of_what_learns(make):
    watch = Watch()
    make(
        model=deep_model(),
        callbacks=[watch],
        rows=texts(48),
        unfreeze_every=1,
        total_train_batch_size=16,
        num_train_epochs=5,
        max_grad_norm=0.01,
    ).train()
    assert watch.norms == pytest.approx([0.01] * 15, rel=1e-3)  # with the frozen gradients it would be less
    assert min(watch.reported) > 0.01


def test_without_the_options_nothing_changes(make):
    models = []
    for trainer_class in (Trainer, SequenceTrainer):
        trainer = make(trainer_class, model=deep_model(), max_steps=4, train_sampling_strategy="sequential")
        trainer.train()
        models.append(trainer.model)
    assert same_weights(*models)


@pytest.mark.parametrize("step", [2, 7])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(make, step):
    options = {
        "rows": distinct_texts(52),
        "total_train_batch_size": 18,  # 3 updates an epoch
        "gradient_accumulation_steps": 2,
        "num_train_epochs": 4,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.1,
        "weight_decay": 0.1,
        "layer_rate_decay": 0.4,
        "unfreeze_every": 2 / 3,
        "save_strategy": "steps",
        "save_steps": 1,
    }
    whole = make(model=deep_model(**DROPOUT), **options)
    whole.train()
    resumed = make(model=deep_model(**DROPOUT), **options)
    resumed.train(resume_from_checkpoint=f"{whole.args.output_dir}/checkpoint-{step}")
    assert whole.state.global_step == resumed.state.global_step == 12
    assert same_weights(whole.model, resumed.model)


# The recipe

RECIPE = """
data: {{name: embedded, max_rows: 200, train_rows: 60}}
tokenizer: {{max_length: 32}}
transfer: {{from_pretrained: {language_model}}}
model: {{type: lstm, pooling: mean_max, classifier_dropout: 0.2}}
training:
  output_dir: {folder}
  use_cpu: true
  num_train_epochs: 3
  total_train_batch_size: 20
  learning_rate: 0.02
  layer_rate_decay: 0.4
  unfreeze_every: 1
  save_strategy: epoch
  disable_tqdm: true
card:
  model_id: hfseq/transferred
  summary: Tells what somebody asks an assistant for.
  data_name: hfseq embedded utterances
  data_license: apache-2.0
  data_domain: generated requests to an assistant
  ask: ["what time is it?"]
"""


def test_the_recipe_fine_tunes_a_language_model_and_its_card_says_so(tmp_path, monkeypatch, caplog):
    torch.manual_seed(0)
    utterances = load_embedded()["train"]["text"][:500]
    tokens = train_tokenizer(utterances, "word_with_space", purpose="language-modeling", vocab_size=300)
    row = FAMILIES["lstm"]
    sizes = {"vocab_size": len(tokens), "embedding_size": 8, "hidden_size": 8, "bos_token_id": 2, "eos_token_id": 3}
    language_model = row.heads["text-generation"](row.config(**sizes, tie_word_embeddings=True))
    language_model.save_pretrained(tmp_path / "lm")
    prompt_tokenizer(tokens).save_pretrained(tmp_path / "lm")
    config, folder = tmp_path / "recipe.yaml", tmp_path / "run"
    config.write_text(RECIPE.format(language_model=tmp_path / "lm", folder=folder), encoding="utf-8")
    RECIPES["text_classification"].main(monkeypatch, "--config", str(config))
    assert "4 of 6 tensors come from" in caplog.text
    facts = CardFacts.load(folder / "facts.json")
    assert facts.data.splits == {"train": 60, "validation": 200, "test": 200}
    assert facts.pretrained == "the body of the language model lm"
    check_card((folder / "README.md").read_text(encoding="utf-8"), pictures_in(folder))
    tuned = AutoModelForSequenceClassification.from_pretrained(folder)
    first = AutoModelForSequenceClassification.from_pretrained(folder / "checkpoint-3")
    assert same_weights(first.model, language_model.model)  # the head alone in the first epoch
    assert not same_weights(tuned.model, first.model)
    pipe = pipeline("text-classification", model=str(folder))
    ids = pipe.tokenizer("what time is it?")["input_ids"]
    assert (ids[0], ids[-1]) == (2, 3)
    assert pipe("what time is it?")[0]["label"] == facts.widgets[0].output[0].label
