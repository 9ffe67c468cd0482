"""Every promise of `promises.py` for every row of the registry, and a planted fault for each promise."""

import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from hfseq import FAMILIES
from hfseq.models import base, calls, configs
from hfseq.models.heads import causal_lm as language
from hfseq.models.heads import classification as heads
from hfseq.models.recurrent import backbone as recurrence
from hfseq.models.recurrent import loop, state
from hfseq.models.transformer import attention, transformer
from hfseq.models.words import word2vec
from tests.contract import cases
from tests.contract import promises as contract
from tests.devices import ON_CPU

CONFIGURATIONS = {
    "plain": {},
    "two-layers": {"num_hidden_layers": 2, "pooling": "mean_max", "dropout_kind": "locked", "embedding_dropout": 0.1},
    "two-layers-both-directions": {"num_hidden_layers": 2, "bidirectional": True, "pooling": "attention"},
}
SWITCHES = {  # of one family each: other parameters than the plain cell has, or another way through the kernels
    "rnn-residual-forget": {"residual": "forget", "bidirectional": True},
    "lstm-peephole-coupled": {"peephole": True, "coupled": True},
    "lstm-blocks": {"block_size": 5, "bidirectional": True},
    "lstm-layer-norm": {"layer_norm": True},
    "gru-reset-before": {"reset": "before", "num_hidden_layers": 2},
}
TAGGERS = {"plain": {}, "both-directions": {"num_hidden_layers": 2, "bidirectional": True}}
LANGUAGE_MODELS = {
    "plain": {},
    "tied": {
        **{"num_hidden_layers": 2, "hidden_size": 7, "last_hidden_size": 6, "tie_word_embeddings": True},
        **{"dropout_kind": "locked", "embedding_dropout": 0.1, "weight_drop": 0.2, "output_dropout": 0.2},
        **{"activation_regularization": 2.0, "temporal_activation_regularization": 1.0},
    },
    "adaptive": {"adaptive_softmax_cutoffs": [6]},
}
WORD_VECTORS = {
    "plain": {},
    "cbow": {"architecture": "cbow"},
    "ngrams": {"ngram_buckets": 7},
    "hierarchical": {"loss": "hierarchical-softmax"},
    "softmax": {"loss": "softmax"},
    "vectors-only": {"with_outputs": False, "ngram_buckets": 7},
}
ROWS = [(name, task) for name, family in FAMILIES.items() for task in family.heads]
RECURRENT = ("rnn", "lstm", "gru", "custom")
CASES = {
    f"{name}-{label}": (name, "text-classification", options)
    for name in RECURRENT
    for label, options in CONFIGURATIONS.items()
}
for name in RECURRENT:
    CASES |= {f"{name}-tagger-{label}": (name, "token-classification", options) for label, options in TAGGERS.items()}
    CASES |= {f"{name}-language-{label}": (name, "text-generation", opts) for label, opts in LANGUAGE_MODELS.items()}
TRANSFORMERS = {
    "plain": {},
    "post-relu-learned": {
        **{
            "norm_position": "post",
            "hidden_act": "relu",
            "position_embedding_type": "learned",
            "pooling": "attention",
        },
        **{"tie_word_embeddings": False, "embedding_dropout": 0.1},
    },
    "rotary-swiglu-rms": {
        **{"position_embedding_type": "rotary", "hidden_act": "swiglu", "norm": "rms_norm", "bias": False},
        "pooling": "mean_max",
    },
}
for task in FAMILIES["transformer"].heads:
    CASES |= {f"transformer-{task}-{label}": ("transformer", task, options) for label, options in TRANSFORMERS.items()}
CASES |= {
    "transformer-text-classification-causal": (
        "transformer",
        "text-classification",
        {"bidirectional": False, "pooling": "last"},
    ),
    "transformer-seq2seq": ("transformer_seq2seq", "text2text-generation", {"num_encoder_layers": 1}),
    "transformer-seq2seq-post-rotary": (
        "transformer_seq2seq",
        "text2text-generation",
        {"norm_position": "post", "position_embedding_type": "rotary", "tie_word_embeddings": False},
    ),
}
CASES |= {
    "hmm-tagger-viterbi": ("hmm", "token-classification", {}),
    "hmm-tagger-posterior": ("hmm", "token-classification", {"decoding": "posterior"}),
    "hmm-language": ("hmm", "text-generation", {}),
    "ngram-kneser-ney": ("ngram", "text-generation", {}),
    "ngram-add-k": ("ngram", "text-generation", {"order": 2, "smoothing": "add-k"}),
}
CASES |= {label: (label.split("-")[0], "text-classification", options) for label, options in SWITCHES.items()}
CASES |= {f"word2vec-{label}": ("word2vec", "feature-extraction", options) for label, options in WORD_VECTORS.items()}


def one_of(family):
    """The configuration that every push examines on the newest transformers: one that generates, if any does."""
    tasks = {label: task for label, (name, task, _) in CASES.items() if name == family}
    return next((label for label, task in tasks.items() if task.endswith("-generation")), next(iter(tasks)))


ONE_A_FAMILY = {one_of(family) for family in FAMILIES}


def test_the_registry_and_the_suite_are_not_empty():
    assert len(ROWS) >= 3 and len(contract.CHECKS) >= 20
    assert {(name, task) for name, task, _ in CASES.values()} >= set(ROWS)
    assert {name for name, _, _ in CASES.values()} == set(FAMILIES)


def make_case(label, folder):
    name, task, options = CASES[label]
    return cases.make_case(FAMILIES[name], task, folder, options)


def promises(label):
    """The checks that mean something for a case."""
    traits = make_case(label, None).traits
    return [check for check, trait in contract.CHECKS.items() if trait is None or trait in traits]


@pytest.mark.parametrize(
    ("label", "check"),
    [
        pytest.param(
            *(label, check),
            id=f"{label}-{check.__name__}",
            marks=[pytest.mark.newest] if label in ONE_A_FAMILY else [],
        )
        for label in CASES
        for check in promises(label)
        if ON_CPU or check not in contract.ON_CPU_ALONE
    ],
)
def test_promise(label, check, tmp_path):
    check(make_case(label, tmp_path))


# A guard must be seen to fail. Each fault below is one that published code has or had.


def padded_loop_over_everything(layer, hidden_states, order, cache=None):
    """The usual padded bidirectional layer: the backward direction runs over the padding first."""
    everything = loop.TokenOrder(*hidden_states.shape[:2], None)
    directions = layer.forward_loop, layer.backward_loop
    return torch.cat([direction(hidden_states, everything)[0] for direction in directions], dim=-1)


def blind_to_padding(order, batch, steps, attention_mask):
    """Reads padding as if it were text."""
    original_order(order, batch, steps, None)


def next_tokens_of_everything(labels, attention_mask):
    """The usual shift: padding on the left predicts the first word."""
    return nn.functional.pad(labels[:, 1:], (0, 1), value=-100)


def forgetful_loop(direction, inputs, order, states=None):
    """Begins each piece of a text from zeros."""
    return original_loop(direction, inputs, order)


@torch.no_grad()
def initialise_again(model, is_quantized):
    """Writes past the guard that protects loaded weights."""
    for parameter in model.parameters():
        parameter.data.normal_()


def loss_of_the_batch_alone(logits, labels, problem_type, num_items_in_batch=None):
    """Ignores the other batches of the update, as transformers' classification heads partly do."""
    return original_loss(logits, labels, problem_type)


def noisy_loss(*arguments):
    """Different on every call, whatever the seed."""
    noisy_loss.calls += 1
    return original_loss(*arguments) * (1 + 0.1 * noisy_loss.calls)


def noisy_word_loss(*arguments):
    noisy_loss.calls += 1
    return original_word_loss(*arguments) * (1 + 0.1 * noisy_loss.calls)


def noisy_language_loss(*arguments):
    noisy_loss.calls += 1
    return original_language_loss(*arguments) * (1 + 0.1 * noisy_loss.calls)


def deaf_to_the_mask(model, input_ids=None, attention_mask=None, **kwargs):
    """Gives padding a vector, and counts it in the mean."""
    return original_lookup(model, input_ids, **kwargs)


def look_everywhere(config, *arguments, **options):
    """Attends to padding."""


def places_in_the_batch(attention_mask, steps, seen, device):
    """Counts padding too, as most decoders do without `position_ids`."""
    return torch.arange(steps, device=device)[None] + seen


def places_in_the_piece(attention_mask, steps, seen, device):
    """Begins at 0 with each piece of a text."""
    return torch.arange(steps, device=device)[None]


def detached_heads(layer, values):
    return original_heads(layer, values).detach()


def detached_lookup(model, ids):
    return original_embed(model, ids).detach()


noisy_loss.calls = 0
original_heads = attention.MultiHeadAttention._heads
original_embed = word2vec.Word2VecModel.embed
original_language_loss = language.CausalLMMixin._loss
original_word_loss = word2vec.Word2VecModel._loss
original_lookup = word2vec.Word2VecModel.forward
original_loss = heads.sequence_loss
original_order = loop.TokenOrder.__init__
original_loop = loop.RecurrentLoop.forward
original_plain_load = PreTrainedModel.from_pretrained.__func__
original_load = base.SequencePreTrainedModel.from_pretrained.__func__


def load_as_float32(cls, *args, **kwargs):
    return original_load(cls, *args, **{**kwargs, "dtype": torch.float32})


def load_whatever_fits(cls, *args, **kwargs):
    """Drops the weights of another size without a word."""
    return original_plain_load(cls, *args, **{**kwargs, "ignore_mismatched_sizes": True})


def last_column(outputs, logits_to_keep, attention_mask, seen=0):
    """What stands in the last column, were it padding."""
    return outputs[:, -logits_to_keep:]


def without_the_old_name(kwargs, name):
    """Swallows it, as a forward with `**kwargs` does."""
    return {each: value for each, value in kwargs.items() if each != "past_key_values"}


def a_class_below(case):
    """Leaves it to a base of its base to say that it generates."""
    return type("Below", (case.family.heads[case.task],), {})


def silent_loss(*arguments):
    return torch.zeros((), requires_grad=True)


FAULTS = {
    contract.auto_classes_load_it: (
        AutoModel,
        "from_pretrained",
        lambda folder: AutoModelForSequenceClassification.from_pretrained(folder),
    ),
    contract.feature_pipeline_answers_any_text: (recurrence.RecurrentLayer, "forward", padded_loop_over_everything),
    contract.pipeline_answers_any_text: (recurrence.RecurrentLayer, "forward", padded_loop_over_everything),
    contract.tagging_pipeline_answers_any_text: (recurrence.RecurrentLayer, "forward", padded_loop_over_everything),
    contract.generation_pipeline_answers_any_text: (loop.TokenOrder, "__init__", blind_to_padding),
    contract.fill_mask_pipeline_answers_any_text: (transformer, "create_bidirectional_mask", look_everywhere),
    contract.padded_sources_change_no_target: (transformer, "create_bidirectional_mask", look_everywhere),
    contract.saving_writes_weights_and_no_code: (
        base.SequencePreTrainedModel,
        "save_pretrained",
        PreTrainedModel.save_pretrained,
    ),
    contract.stock_trainer_changes_every_parameter: (
        nn.Embedding,
        "forward",
        lambda self, ids: self.weight.detach()[ids],
    ),
    contract.save_and_load_are_bit_equal: (PreTrainedModel, "_initialize_missing_keys", initialise_again),
    contract.damaged_checkpoints_are_refused: (base, "_refuse_unfit", lambda *args: None),
    contract.checkpoints_of_another_size_are_refused: (
        PreTrainedModel,
        "from_pretrained",
        classmethod(load_whatever_fits),
    ),
    contract.misfits_are_refused_before_memory_is_asked_for: (base, "_refuse_by_headers", lambda *args: None),
    contract.missing_weights_are_initialised_by_our_rules: (
        recurrence.RecurrentPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    contract.an_empty_state_dict_initialises_everything: (
        recurrence.RecurrentPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    contract.a_new_head_on_an_old_body_keeps_the_body: (base, "_refuse_unfit", lambda *args: None),
    contract.padding_and_batch_size_change_no_vector: (
        recurrence.RecurrentLayer,
        "forward",
        padded_loop_over_everything,
    ),
    contract.padding_and_batch_size_change_no_answer: (
        recurrence.RecurrentLayer,
        "forward",
        padded_loop_over_everything,
    ),
    contract.padding_and_batch_size_change_no_token: (language, "next_tokens", next_tokens_of_everything),
    contract.transformers_sees_whether_it_generates: (cases.Case, "model_class", property(a_class_below)),
    contract.generation_equals_reading_again: (state.RecurrentStateLayer, "reorder_cache", lambda layer, rows: None),
    contract.prompts_padded_on_the_right_go_on_as_on_the_left: (language, "kept_outputs", last_column),
    contract.the_cache_has_both_names: (calls, "_renamed", without_the_old_name),
    contract.the_config_says_whether_a_cache_is_returned: (
        base.SequencePreTrainedModel,
        "_wants_cache",
        lambda model, cache, use_cache: cache is not None or bool(use_cache),
    ),
    contract.keywords_that_nobody_reads_are_refused: (
        base.SequencePreTrainedModel,
        "read_by_layers",
        frozenset({"colour"}),
    ),
    contract.wrong_guesses_are_taken_back: (state.RecurrentStateLayer, "crop", lambda layer, tokens_to_remove: None),
    contract.given_tokens_have_the_probability_of_the_logits: (
        language.CausalLMMixin,
        "_log_probs",
        lambda model, read, asked, targets: model._logits(read[asked]).gather(1, targets[:, None])[:, 0],
    ),
    contract.padded_content_gets_no_gradient: (recurrence.RecurrentLayer, "forward", padded_loop_over_everything),
    contract.state_split_equals_whole: (loop.RecurrentLoop, "forward", forgetful_loop),
    contract.wrong_config_values_are_refused: (FAMILIES["gru"].config, "__setattr__", object.__setattr__),
    contract.keywords_that_are_no_field_are_refused: (
        configs.SequenceConfig,
        "unknown_names",
        classmethod(lambda cls, names: []),
    ),
    contract.keys_of_a_newer_config_are_named: (
        configs.SequenceConfig,
        "unknown_names",
        classmethod(lambda cls, names: []),
    ),
    contract.pickles_and_torn_files_are_refused: (base, "check_weights_folder", lambda folder: None),
    contract.the_same_seed_gives_the_same_run: (heads, "sequence_loss", noisy_loss),
    contract.accumulation_is_exact: (heads, "sequence_loss", loss_of_the_batch_alone),
    contract.every_parameter_gets_a_gradient: (nn.Embedding, "forward", lambda self, ids: self.weight.detach()[ids]),
    contract.checkpointing_gives_the_same_gradients: (
        PreTrainedModel,
        "gradient_checkpointing_enable",
        lambda self: self.classifier.weight.data.mul_(2),
    ),
    contract.hidden_states_are_returned_on_request: (recurrence.RecurrentPreTrainedModel, "_can_record_outputs", {}),
    contract.copies_and_half_precision_work: (
        base.SequencePreTrainedModel,
        "from_pretrained",
        classmethod(load_as_float32),
    ),
    contract.keywords_of_forward_are_declared: (heads.SequenceClassificationMixin, "forward", deaf_to_the_mask),
    contract.embeddings_are_exchanged_or_refused: (
        PreTrainedModel,
        "set_input_embeddings",
        lambda model, embeddings: None,
    ),
    contract.foreign_ids_are_named: (base, "check_input_ids", lambda ids, vocab_size: None),
    contract.inputs_that_are_no_batch_are_named: (base, "check_rank", lambda given, name: None),
    contract.foreign_labels_are_named: (heads, "sequence_loss", silent_loss),
    contract.labels_of_several_classes_are_checked: (heads, "sequence_loss", silent_loss),
}
# The same faults where word vectors keep what they break in another place.
WORD_VECTOR_FAULTS = {
    contract.transformers_sees_whether_it_generates: (PreTrainedModel, "can_generate", classmethod(lambda cls: True)),
    contract.auto_classes_load_it: (AutoModel, "from_pretrained", lambda folder: nn.Identity()),
    contract.feature_pipeline_answers_any_text: (word2vec, "at_least_one_token", lambda *given: given),
    contract.missing_weights_are_initialised_by_our_rules: (
        word2vec.Word2VecModel,
        "_init_weights",
        lambda model, module: None,
    ),
    contract.an_empty_state_dict_initialises_everything: (
        word2vec.Word2VecModel,
        "_init_weights",
        lambda model, module: None,
    ),
    contract.stock_trainer_changes_every_parameter: (word2vec.Word2VecModel, "embed", detached_lookup),
    contract.every_parameter_gets_a_gradient: (word2vec.Word2VecModel, "embed", detached_lookup),
    contract.padding_and_batch_size_change_no_vector: (word2vec.Word2VecModel, "forward", deaf_to_the_mask),
    contract.padded_content_gets_no_gradient: (word2vec.Word2VecModel, "forward", deaf_to_the_mask),
    contract.wrong_config_values_are_refused: (FAMILIES["word2vec"].config, "__setattr__", object.__setattr__),
    contract.the_same_seed_gives_the_same_run: (word2vec.Word2VecModel, "_loss", noisy_word_loss),
    contract.accumulation_is_exact: (
        word2vec.Word2VecModel,
        "_loss",
        lambda model, context, labels, _: original_word_loss(model, context, labels, None),
    ),
    contract.keywords_of_forward_are_declared: (word2vec.Word2VecModel, "forward", deaf_to_the_mask),
    contract.embeddings_are_exchanged_or_refused: (
        word2vec.Word2VecModel,
        "set_input_embeddings",
        lambda model, embeddings: None,
    ),
    contract.foreign_ids_are_named: (word2vec, "check_input_ids", lambda ids, vocab_size: None),
    contract.foreign_labels_are_named: (word2vec.Word2VecModel, "_loss", silent_loss),
}

# And those of a transformer.
TRANSFORMER_FAULTS = {
    contract.auto_classes_load_it: (AutoModel, "from_pretrained", lambda folder: nn.Identity()),
    contract.feature_pipeline_answers_any_text: (transformer, "positions_of", places_in_the_batch),
    # `generate` tells the positions, so it is the mask that has to be right.
    contract.generation_pipeline_answers_any_text: (transformer, "create_causal_mask", look_everywhere),
    contract.stock_trainer_changes_every_parameter: (attention.MultiHeadAttention, "_heads", detached_heads),
    contract.every_parameter_gets_a_gradient: (attention.MultiHeadAttention, "_heads", detached_heads),
    contract.padding_and_batch_size_change_no_vector: (transformer, "positions_of", places_in_the_batch),
    contract.generation_equals_reading_again: (DynamicLayer, "reorder_cache", lambda layer, rows: None),
    contract.wrong_guesses_are_taken_back: (DynamicLayer, "crop", lambda layer, tokens: None),
    contract.padded_content_gets_no_gradient: (transformer, "create_causal_mask", look_everywhere),
    contract.state_split_equals_whole: (transformer, "positions_of", places_in_the_piece),
    contract.keywords_that_nobody_reads_are_refused: (
        transformer.TransformerPreTrainedModel,
        "read_by_layers",
        frozenset({"colour"}),
    ),
    contract.missing_weights_are_initialised_by_our_rules: (
        transformer.TransformerPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    contract.keywords_of_forward_are_declared: (transformer.TransformerForCausalLM, "forward", deaf_to_the_mask),
    contract.an_empty_state_dict_initialises_everything: (
        transformer.TransformerPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    contract.wrong_config_values_are_refused: (FAMILIES["transformer"].config, "__setattr__", object.__setattr__),
    contract.the_same_seed_gives_the_same_run: (language.CausalLMMixin, "_loss", noisy_language_loss),
    contract.accumulation_is_exact: (
        language.CausalLMMixin,
        "_loss",
        lambda model, hidden_states, logits, targets, _: original_language_loss(
            model, hidden_states, logits, targets, None
        ),
    ),
    contract.checkpointing_gives_the_same_gradients: (
        PreTrainedModel,
        "gradient_checkpointing_enable",
        lambda self: self.lm_head.weight.data.mul_(2),
    ),
    contract.hidden_states_are_returned_on_request: (
        transformer.TransformerPreTrainedModel,
        "_can_record_outputs",
        {},
    ),
    contract.foreign_labels_are_named: (language, "check_targets", lambda targets, shape, vocab_size: None),
}

# Where the fault does not let the check end: what it ends with instead.
CRASHES = {
    contract.hidden_states_are_returned_on_request: TypeError,
    contract.foreign_ids_are_named: IndexError,
    contract.inputs_that_are_no_batch_are_named: (IndexError, ValueError),
    contract.keys_of_a_newer_config_are_named: (TypeError, ValueError),
    contract.foreign_labels_are_named: (AssertionError, pytest.fail.Exception, IndexError),
    contract.feature_pipeline_answers_any_text: (AssertionError, RuntimeError, IndexError),
    contract.missing_weights_are_initialised_by_our_rules: (AssertionError, ValueError),
    contract.an_empty_state_dict_initialises_everything: (AssertionError, ValueError),
}


def test_each_promise_has_a_planted_fault():
    assert set(FAULTS) == set(contract.CHECKS)


SEEN_IN = dict.fromkeys(FAULTS, "gru-two-layers-both-directions") | {
    contract.state_split_equals_whole: "gru-plain",
    contract.tagging_pipeline_answers_any_text: "gru-tagger-both-directions",
    contract.generation_pipeline_answers_any_text: "gru-language-plain",
    contract.padding_and_batch_size_change_no_token: "gru-language-plain",
    contract.transformers_sees_whether_it_generates: "gru-language-plain",
    contract.generation_equals_reading_again: "gru-language-plain",
    contract.wrong_guesses_are_taken_back: "gru-language-plain",
    contract.prompts_padded_on_the_right_go_on_as_on_the_left: "gru-language-plain",
    contract.the_cache_has_both_names: "gru-language-plain",
    contract.the_config_says_whether_a_cache_is_returned: "gru-language-plain",
    contract.given_tokens_have_the_probability_of_the_logits: "gru-language-plain",
    contract.fill_mask_pipeline_answers_any_text: "transformer-fill-mask-plain",
    contract.padded_sources_change_no_target: "transformer-seq2seq",
}
PLANTED = [(label, check, FAULTS[check]) for check, label in SEEN_IN.items()]
PLANTED += [
    ("word2vec-ngrams", check, WORD_VECTOR_FAULTS.get(check, FAULTS[check])) for check in promises("word2vec-ngrams")
]
PLANTED += [
    ("transformer-text-generation-plain", check, TRANSFORMER_FAULTS.get(check, FAULTS[check]))
    for check in promises("transformer-text-generation-plain")
]


@pytest.mark.parametrize(
    ("label", "check", "fault"), [pytest.param(*row, id=f"{row[0]}-{row[1].__name__}") for row in PLANTED]
)
def test_the_check_sees_a_planted_fault(label, check, fault, tmp_path, monkeypatch):
    case = make_case(label, tmp_path)
    check(case)
    owner, name, value = fault
    monkeypatch.setattr(owner, name, value)
    with pytest.raises(CRASHES.get(check, (AssertionError, pytest.fail.Exception))):
        check(case)
