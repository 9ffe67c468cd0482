"""A planted fault for each promise: a guard must be seen to fail. Each is one that published code has or had."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from hfseq import FAMILIES, SeriesFeatureExtractor
from hfseq.models import base, calls, configs, inputs, token_order
from hfseq.models import values as values_module
from hfseq.models.counting import mixture
from hfseq.models.heads import causal_lm as language
from hfseq.models.heads import classification as heads
from hfseq.models.heads import tagging
from hfseq.models.heads.crf import LinearChainCRF
from hfseq.models.heads.pairs import PairRows
from hfseq.models.heads.wide import WideLikeness, WideNgrams
from hfseq.models.recurrent import backbone as recurrence
from hfseq.models.recurrent import captioner, decoder_attention, loop, recursive, state
from hfseq.models.transformer import attention, transformer
from hfseq.models.words import bag, word2vec
from tests.contract import cases
from tests.contract.configurations import promises
from tests.contract.promises import gates, numbers, padding, platform, reading_on, refusals, saving, training


def padded_loop_over_everything(layer, hidden_states, order, cache=None):
    """The usual padded bidirectional layer: the backward direction runs over the padding first."""
    everything = token_order.TokenOrder(*hidden_states.shape[:2], None)
    directions = layer.forward_loop, layer.backward_loop
    return torch.cat([direction(hidden_states, everything)[0] for direction in directions], dim=-1)


def blind_to_padding(order, batch, steps, attention_mask):
    """Reads padding as if it were text."""
    original_order(order, batch, steps, None)


def softmax_over_padding(scores, real):
    """Attends to padding as to any token."""
    return scores.softmax(-1)


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


def bag_deaf_to_the_mask(model, input_ids=None, attention_mask=None, **kwargs):
    """Counts padding among the words."""
    return original_bag(model, input_ids, **kwargs)


def wide_deaf_to_the_mask(wide, input_ids, attention_mask):
    """Counts padding among the tokens, and in runs of them."""
    return original_wide(wide, input_ids, None)


def pairs_deaf_to_the_mask(pairs, input_ids, attention_mask, end):
    """Ends the first text at an end that stands in the padding, and reads on there."""
    original_pairs(pairs, input_ids, None, end)


def chained_through_padding(crf, emissions, chain, decoding):
    """Reads padding as words."""
    return original_crf_answers(crf, emissions, torch.ones_like(chain), decoding)


def detached_mean(model, begins, rows):
    return original_mean(model, begins, rows).detach()


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


def padding_is_context(attention_mask, input_ids, cache):
    """Looks n-grams up that reach into the padding."""
    return torch.ones_like(input_ids, dtype=torch.bool)


def ngrams_of_the_piece(model, input_ids, real, cache):
    """Reads on with the network alone: the n-grams begin anew with each piece."""
    original_contexts(model, input_ids, real, cache)
    return original_contexts(model, input_ids, real, None)


def scored_by_the_network(model, read, asked, targets):
    """Forgets the n-grams in the loss."""
    return model.network._log_probs(read[0], asked, targets)


def detached_reading(model, *inputs):
    """Trains the head of the network alone."""
    hidden_states, contexts = original_reading(model, *inputs)
    return hidden_states.detach(), contexts


def detached_lookup(model, ids):
    return original_embed(model, ids).detach()


noisy_loss.calls = 0
original_heads = attention.MultiHeadAttention._heads
original_embed = word2vec.Word2VecModel.embed
original_language_loss = language.CausalLMMixin._loss
original_word_loss = word2vec.Word2VecModel._loss
original_bag = bag.BagModel.forward
original_mean = bag.BagModel.mean
original_wide = WideNgrams.forward
original_crf_answers = LinearChainCRF.answers
original_pairs = PairRows.__init__
original_lookup = word2vec.Word2VecModel.forward
original_loss = heads.sequence_loss
original_contexts = mixture.MixtureForCausalLM._contexts
original_reading = mixture.MixtureForCausalLM._read_text
original_order = token_order.TokenOrder.__init__
original_trees = recursive.read_trees
original_words = recursive.RecursiveModel._words
original_tree_loss = recursive.RecursiveForSequenceClassification._loss
original_loop = loop.RecurrentLoop.forward
original_watch = loop.RecurrentLoop._watched
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


def trees_deaf_to_the_mask(mask, parents, shape, is_word):
    """Reads padding as words, and counts it among the nodes."""
    return original_trees(np.ones_like(mask), parents, shape, is_word)


def words_without_gradients(model, *arguments):
    """Keeps the words' vectors as they are."""
    vectors, word_of = original_words(model, *arguments)
    return vectors.detach(), word_of


def tree_loss_of_the_batch_alone(*arguments):
    return original_tree_loss(*arguments[:-1], None)


def noisy_tree_loss(*arguments):
    noisy_loss.calls += 1
    return original_tree_loss(*arguments) * (1 + 0.1 * noisy_loss.calls)


def silent_loss(*arguments):
    return torch.zeros((), requires_grad=True)


def gates_of_padding(direction, inputs, order, *given):
    """Shows what the cell would make of padding."""
    return original_watch(direction, inputs, token_order.TokenOrder(order.batch, order.steps, None), *given)


def gates_as_they_are_read(direction, *given):
    """Shows a text that is read backward from its end."""
    outputs, states, values = original_watch(direction, *given)
    return outputs, states, {name: value.flip(1) if direction.backward else value for name, value in values.items()}


FAULTS = {
    platform.auto_classes_load_it: (
        AutoModel,
        "from_pretrained",
        lambda folder: AutoModelForSequenceClassification.from_pretrained(folder),
    ),
    platform.feature_pipeline_answers_any_text: (recurrence.RecurrentLayer, "forward", padded_loop_over_everything),
    platform.pipeline_answers_any_text: (recurrence.RecurrentLayer, "forward", padded_loop_over_everything),
    platform.tagging_pipeline_answers_any_text: (recurrence.RecurrentLayer, "forward", padded_loop_over_everything),
    platform.generation_pipeline_answers_any_text: (token_order.TokenOrder, "__init__", blind_to_padding),
    platform.fill_mask_pipeline_answers_any_text: (transformer, "create_bidirectional_mask", look_everywhere),
    padding.padded_sources_change_no_target: (transformer, "create_bidirectional_mask", look_everywhere),
    padding.padded_regions_change_no_caption: (decoder_attention, "_softmax", softmax_over_padding),
    padding.padding_and_batch_size_change_no_tree: (recursive, "read_trees", trees_deaf_to_the_mask),
    saving.saving_writes_weights_and_no_code: (
        base.SequencePreTrainedModel,
        "save_pretrained",
        PreTrainedModel.save_pretrained,
    ),
    numbers.padding_and_batch_size_change_no_number: (token_order.TokenOrder, "__init__", blind_to_padding),
    numbers.what_stands_in_the_padding_is_not_read: (values_module, "_without_padding", lambda values, mask: values),
    numbers.wrong_numbers_are_named: (values_module, "check_values", lambda *given: None),
    numbers.the_feature_extractor_belongs_to_the_checkpoint: (
        SeriesFeatureExtractor,
        "scale",
        lambda extractor, rows, place=0: rows.astype("float32"),
    ),
    training.stock_trainer_changes_every_parameter: (
        nn.Embedding,
        "forward",
        lambda self, ids: self.weight.detach()[ids],
    ),
    saving.save_and_load_are_bit_equal: (PreTrainedModel, "_initialize_missing_keys", initialise_again),
    saving.damaged_checkpoints_are_refused: (base, "_refuse_unfit", lambda *args: None),
    saving.checkpoints_of_another_size_are_refused: (
        PreTrainedModel,
        "from_pretrained",
        classmethod(load_whatever_fits),
    ),
    saving.misfits_are_refused_before_memory_is_asked_for: (base, "_refuse_by_headers", lambda *args: None),
    saving.missing_weights_are_initialised_by_our_rules: (
        recurrence.RecurrentPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    saving.an_empty_state_dict_initialises_everything: (
        recurrence.RecurrentPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    saving.a_new_head_on_an_old_body_keeps_the_body: (base, "_refuse_unfit", lambda *args: None),
    padding.padding_and_batch_size_change_no_vector: (
        recurrence.RecurrentLayer,
        "forward",
        padded_loop_over_everything,
    ),
    padding.padding_and_batch_size_change_no_answer: (
        recurrence.RecurrentLayer,
        "forward",
        padded_loop_over_everything,
    ),
    platform.intent_pipeline_answers_any_text: (
        recurrence.RecurrentLayer,
        "forward",
        padded_loop_over_everything,
    ),
    # The tagger takes the other head, which has the same shape here.
    platform.stock_pipelines_read_the_same_checkpoint: (tagging, "SLOT_HEAD", {}),
    padding.padding_and_batch_size_change_no_token: (language, "next_tokens", next_tokens_of_everything),
    platform.transformers_sees_whether_it_generates: (cases.Case, "model_class", property(a_class_below)),
    reading_on.generation_equals_reading_again: (state.RecurrentStateLayer, "reorder_cache", lambda layer, rows: None),
    padding.prompts_padded_on_the_right_go_on_as_on_the_left: (language, "kept_outputs", last_column),
    reading_on.the_cache_has_both_names: (calls, "_renamed", without_the_old_name),
    reading_on.the_config_says_whether_a_cache_is_returned: (
        base.SequencePreTrainedModel,
        "_wants_cache",
        lambda model, cache, use_cache: cache is not None or bool(use_cache),
    ),
    refusals.keywords_that_nobody_reads_are_refused: (
        base.SequencePreTrainedModel,
        "read_by_layers",
        frozenset({"colour"}),
    ),
    reading_on.wrong_guesses_are_taken_back: (state.RecurrentStateLayer, "crop", lambda layer, tokens_to_remove: None),
    reading_on.given_tokens_have_the_probability_of_the_logits: (
        language.CausalLMMixin,
        "_log_probs",
        lambda model, read, asked, targets: model._logits(read[asked]).gather(1, targets[:, None])[:, 0],
    ),
    padding.padded_content_gets_no_gradient: (recurrence.RecurrentLayer, "forward", padded_loop_over_everything),
    reading_on.state_split_equals_whole: (loop.RecurrentLoop, "forward", forgetful_loop),
    refusals.wrong_config_values_are_refused: (FAMILIES["gru"].config, "__setattr__", object.__setattr__),
    refusals.keywords_that_are_no_field_are_refused: (
        configs.SequenceConfig,
        "unknown_names",
        classmethod(lambda cls, names: []),
    ),
    saving.keys_of_a_newer_config_are_named: (
        configs.SequenceConfig,
        "unknown_names",
        classmethod(lambda cls, names: []),
    ),
    saving.pickles_and_torn_files_are_refused: (base, "check_weights_folder", lambda folder: None),
    training.the_same_seed_gives_the_same_run: (heads, "sequence_loss", noisy_loss),
    training.accumulation_is_exact: (heads, "sequence_loss", loss_of_the_batch_alone),
    training.every_parameter_gets_a_gradient: (nn.Embedding, "forward", lambda self, ids: self.weight.detach()[ids]),
    training.checkpointing_gives_the_same_gradients: (
        PreTrainedModel,
        "gradient_checkpointing_enable",
        lambda self: self.classifier.weight.data.mul_(2),
    ),
    platform.hidden_states_are_returned_on_request: (recurrence.RecurrentPreTrainedModel, "_can_record_outputs", {}),
    gates.gates_are_shown_on_request: (loop.RecurrentLoop, "_watched", gates_as_they_are_read),
    gates.gates_are_those_of_each_text_alone: (loop.RecurrentLoop, "_watched", gates_of_padding),
    gates.models_without_gates_refuse_to_show_them: (
        base.SequencePreTrainedModel,
        "read_by_layers",
        frozenset({"output_gates"}),
    ),
    saving.copies_and_half_precision_work: (
        base.SequencePreTrainedModel,
        "from_pretrained",
        classmethod(load_as_float32),
    ),
    platform.keywords_of_forward_are_declared: (heads.SequenceClassificationMixin, "forward", deaf_to_the_mask),
    platform.embeddings_are_exchanged_or_refused: (
        PreTrainedModel,
        "set_input_embeddings",
        lambda model, embeddings: None,
    ),
    refusals.foreign_ids_are_named: (inputs, "check_input_ids", lambda ids, vocab_size, *, of_target: None),
    refusals.inputs_that_are_no_batch_are_named: (inputs, "check_rank", lambda given, name: None),
    refusals.images_that_are_none_are_named: (captioner, "_check_finite", lambda features: None),
    refusals.foreign_labels_are_named: (heads, "sequence_loss", silent_loss),
    refusals.labels_of_several_classes_are_checked: (heads, "sequence_loss", silent_loss),
}
# The same faults where word vectors keep what they break in another place.
RECURRENT_FAULTS = {
    refusals.keywords_that_nobody_reads_are_refused: (
        recurrence.RecurrentPreTrainedModel,
        "read_by_layers",
        frozenset({"colour"}),
    ),
}
WORD_VECTOR_FAULTS = {
    platform.transformers_sees_whether_it_generates: (PreTrainedModel, "can_generate", classmethod(lambda cls: True)),
    platform.auto_classes_load_it: (AutoModel, "from_pretrained", lambda folder: nn.Identity()),
    platform.feature_pipeline_answers_any_text: (word2vec, "at_least_one_token", lambda *given: given),
    saving.missing_weights_are_initialised_by_our_rules: (
        word2vec.Word2VecModel,
        "_init_weights",
        lambda model, module: None,
    ),
    saving.an_empty_state_dict_initialises_everything: (
        word2vec.Word2VecModel,
        "_init_weights",
        lambda model, module: None,
    ),
    training.stock_trainer_changes_every_parameter: (word2vec.Word2VecModel, "embed", detached_lookup),
    training.every_parameter_gets_a_gradient: (word2vec.Word2VecModel, "embed", detached_lookup),
    padding.padding_and_batch_size_change_no_vector: (word2vec.Word2VecModel, "forward", deaf_to_the_mask),
    padding.padded_content_gets_no_gradient: (word2vec.Word2VecModel, "forward", deaf_to_the_mask),
    refusals.wrong_config_values_are_refused: (FAMILIES["word2vec"].config, "__setattr__", object.__setattr__),
    training.the_same_seed_gives_the_same_run: (word2vec.Word2VecModel, "_loss", noisy_word_loss),
    training.accumulation_is_exact: (
        word2vec.Word2VecModel,
        "_loss",
        lambda model, context, labels, _: original_word_loss(model, context, labels, None),
    ),
    platform.keywords_of_forward_are_declared: (word2vec.Word2VecModel, "forward", deaf_to_the_mask),
    platform.embeddings_are_exchanged_or_refused: (
        word2vec.Word2VecModel,
        "set_input_embeddings",
        lambda model, embeddings: None,
    ),
    refusals.foreign_ids_are_named: (word2vec, "check_input_ids", lambda ids, vocab_size: None),
    refusals.foreign_labels_are_named: (word2vec.Word2VecModel, "_loss", silent_loss),
}

# Those of a bag.
BAG_FAULTS = {
    platform.auto_classes_load_it: (AutoModel, "from_pretrained", lambda folder: nn.Identity()),
    platform.feature_pipeline_answers_any_text: (bag.BagModel, "forward", bag_deaf_to_the_mask),
    platform.pipeline_answers_any_text: (bag.BagModel, "forward", bag_deaf_to_the_mask),
    platform.transformers_sees_whether_it_generates: (PreTrainedModel, "can_generate", classmethod(lambda cls: True)),
    platform.keywords_of_forward_are_declared: (bag.BagModel, "forward", bag_deaf_to_the_mask),
    platform.embeddings_are_exchanged_or_refused: (
        bag.BagModel,
        "set_input_embeddings",
        lambda model, embeddings: None,
    ),
    saving.missing_weights_are_initialised_by_our_rules: (
        bag.BagPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    saving.an_empty_state_dict_initialises_everything: (
        bag.BagPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    training.stock_trainer_changes_every_parameter: (bag.BagModel, "mean", detached_mean),
    training.every_parameter_gets_a_gradient: (bag.BagModel, "mean", detached_mean),
    padding.padding_and_batch_size_change_no_vector: (bag.BagModel, "forward", bag_deaf_to_the_mask),
    padding.padding_and_batch_size_change_no_answer: (bag.BagModel, "forward", bag_deaf_to_the_mask),
    padding.padded_content_gets_no_gradient: (bag.BagModel, "forward", bag_deaf_to_the_mask),
    training.the_same_seed_gives_the_same_run: (bag, "sequence_loss", noisy_loss),
    training.accumulation_is_exact: (bag, "sequence_loss", loss_of_the_batch_alone),
    refusals.wrong_config_values_are_refused: (FAMILIES["bag"].config, "__setattr__", object.__setattr__),
    refusals.foreign_ids_are_named: (bag, "check_input_ids", lambda ids, vocab_size: None),
    refusals.foreign_labels_are_named: (bag, "sequence_loss", silent_loss),
    refusals.labels_of_several_classes_are_checked: (bag, "sequence_loss", silent_loss),
}

# And those of a transformer.
TRANSFORMER_FAULTS = {
    platform.auto_classes_load_it: (AutoModel, "from_pretrained", lambda folder: nn.Identity()),
    platform.feature_pipeline_answers_any_text: (transformer, "positions_of", places_in_the_batch),
    # `generate` tells the positions, so it is the mask that has to be right.
    platform.generation_pipeline_answers_any_text: (transformer, "create_causal_mask", look_everywhere),
    training.stock_trainer_changes_every_parameter: (attention.MultiHeadAttention, "_heads", detached_heads),
    training.every_parameter_gets_a_gradient: (attention.MultiHeadAttention, "_heads", detached_heads),
    padding.padding_and_batch_size_change_no_vector: (transformer, "positions_of", places_in_the_batch),
    reading_on.generation_equals_reading_again: (DynamicLayer, "reorder_cache", lambda layer, rows: None),
    reading_on.wrong_guesses_are_taken_back: (DynamicLayer, "crop", lambda layer, tokens: None),
    padding.padded_content_gets_no_gradient: (transformer, "create_causal_mask", look_everywhere),
    reading_on.state_split_equals_whole: (transformer, "positions_of", places_in_the_piece),
    refusals.keywords_that_nobody_reads_are_refused: (
        transformer.TransformerPreTrainedModel,
        "read_by_layers",
        frozenset({"colour"}),
    ),
    gates.models_without_gates_refuse_to_show_them: (
        transformer.TransformerPreTrainedModel,
        "read_by_layers",
        frozenset({"output_gates"}),
    ),
    saving.missing_weights_are_initialised_by_our_rules: (
        transformer.TransformerPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    platform.keywords_of_forward_are_declared: (transformer.TransformerForCausalLM, "forward", deaf_to_the_mask),
    saving.an_empty_state_dict_initialises_everything: (
        transformer.TransformerPreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    refusals.wrong_config_values_are_refused: (FAMILIES["transformer"].config, "__setattr__", object.__setattr__),
    training.the_same_seed_gives_the_same_run: (language.CausalLMMixin, "_loss", noisy_language_loss),
    training.accumulation_is_exact: (
        language.CausalLMMixin,
        "_loss",
        lambda model, hidden_states, logits, targets, _: original_language_loss(
            model, hidden_states, logits, targets, None
        ),
    ),
    training.checkpointing_gives_the_same_gradients: (
        PreTrainedModel,
        "gradient_checkpointing_enable",
        lambda self: self.lm_head.weight.data.mul_(2),
    ),
    platform.hidden_states_are_returned_on_request: (
        transformer.TransformerPreTrainedModel,
        "_can_record_outputs",
        {},
    ),
    refusals.foreign_labels_are_named: (language, "check_targets", lambda *args: None),
}

# What a mixture adds to its parts: it must see to it that both read the same.
MIXTURE_FAULTS = {
    padding.padding_and_batch_size_change_no_token: (mixture, "_real", padding_is_context),
    reading_on.generation_equals_reading_again: (mixture.MixtureForCausalLM, "_contexts", ngrams_of_the_piece),
    reading_on.wrong_guesses_are_taken_back: (state.RecurrentStateLayer, "crop", lambda layer, tokens_to_remove: None),
    reading_on.given_tokens_have_the_probability_of_the_logits: (
        mixture.MixtureForCausalLM,
        "_log_probs",
        scored_by_the_network,
    ),
    training.every_parameter_gets_a_gradient: (mixture.MixtureForCausalLM, "_read_text", detached_reading),
}

# Those of a recursive network.
TREE_FAULTS = {
    platform.auto_classes_load_it: (AutoModel, "from_pretrained", lambda folder: nn.Identity()),
    platform.feature_pipeline_answers_any_text: (recursive, "read_trees", trees_deaf_to_the_mask),
    platform.pipeline_answers_any_text: (recursive, "read_trees", trees_deaf_to_the_mask),
    platform.transformers_sees_whether_it_generates: (PreTrainedModel, "can_generate", classmethod(lambda cls: True)),
    platform.keywords_of_forward_are_declared: (recursive.RecursiveModel, "forward", bag_deaf_to_the_mask),
    saving.missing_weights_are_initialised_by_our_rules: (
        recursive.RecursivePreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    saving.an_empty_state_dict_initialises_everything: (
        recursive.RecursivePreTrainedModel,
        "_init_weights",
        lambda model, module: None,
    ),
    training.stock_trainer_changes_every_parameter: (
        recursive.RecursiveModel,
        "_words",
        words_without_gradients,
    ),
    training.every_parameter_gets_a_gradient: (recursive.RecursiveModel, "_words", words_without_gradients),
    padding.padding_and_batch_size_change_no_vector: (recursive, "read_trees", trees_deaf_to_the_mask),
    padding.padding_and_batch_size_change_no_answer: (recursive, "read_trees", trees_deaf_to_the_mask),
    padding.padded_content_gets_no_gradient: (recursive, "read_trees", trees_deaf_to_the_mask),
    training.the_same_seed_gives_the_same_run: (
        recursive.RecursiveForSequenceClassification,
        "_loss",
        noisy_tree_loss,
    ),
    training.accumulation_is_exact: (
        recursive.RecursiveForSequenceClassification,
        "_loss",
        tree_loss_of_the_batch_alone,
    ),
    refusals.wrong_config_values_are_refused: (FAMILIES["recursive"].config, "__setattr__", object.__setattr__),
    refusals.foreign_labels_are_named: (recursive.RecursiveForSequenceClassification, "_loss", silent_loss),
}

CRF_FAULTS = {
    padding.padding_and_batch_size_change_no_token: (LinearChainCRF, "answers", chained_through_padding),
    saving.missing_weights_are_initialised_by_our_rules: (LinearChainCRF, "reset_parameters", lambda crf: None),
}

# Where the fault does not let the check end: what it ends with instead.
CRASHES = {
    platform.hidden_states_are_returned_on_request: TypeError,
    refusals.foreign_ids_are_named: IndexError,
    numbers.what_stands_in_the_padding_is_not_read: (AssertionError, ValueError),
    numbers.wrong_numbers_are_named: (pytest.fail.Exception, AssertionError, IndexError, RuntimeError),
    padding.padding_and_batch_size_change_no_tree: (AssertionError, ValueError),
    refusals.inputs_that_are_no_batch_are_named: (IndexError, ValueError),
    refusals.images_that_are_none_are_named: (AssertionError, pytest.fail.Exception),
    saving.keys_of_a_newer_config_are_named: (TypeError, ValueError),
    refusals.foreign_labels_are_named: (AssertionError, pytest.fail.Exception, IndexError),
    platform.feature_pipeline_answers_any_text: (AssertionError, RuntimeError, IndexError),
    saving.missing_weights_are_initialised_by_our_rules: (AssertionError, ValueError),
    saving.an_empty_state_dict_initialises_everything: (AssertionError, ValueError),
}


SEEN_IN = dict.fromkeys(FAULTS, "gru-two-layers-both-directions") | {
    gates.models_without_gates_refuse_to_show_them: "window-text-classification-plain",
    reading_on.state_split_equals_whole: "gru-plain",
    platform.tagging_pipeline_answers_any_text: "gru-tagger-both-directions",
    platform.generation_pipeline_answers_any_text: "gru-language-plain",
    platform.intent_pipeline_answers_any_text: "gru-intents-both-directions",
    platform.stock_pipelines_read_the_same_checkpoint: "gru-intents-plain",
    padding.padding_and_batch_size_change_no_token: "gru-language-plain",
    platform.transformers_sees_whether_it_generates: "gru-language-plain",
    reading_on.generation_equals_reading_again: "gru-language-plain",
    reading_on.wrong_guesses_are_taken_back: "gru-language-plain",
    padding.prompts_padded_on_the_right_go_on_as_on_the_left: "gru-language-plain",
    reading_on.the_cache_has_both_names: "gru-language-plain",
    reading_on.the_config_says_whether_a_cache_is_returned: "gru-language-plain",
    reading_on.given_tokens_have_the_probability_of_the_logits: "gru-language-plain",
    platform.fill_mask_pipeline_answers_any_text: "transformer-fill-mask-plain",
    padding.padded_sources_change_no_target: "transformer-seq2seq",
    padding.padding_and_batch_size_change_no_tree: "recursive-tree-gru",
    numbers.padding_and_batch_size_change_no_number: "gru-tagger-numbers",
    numbers.what_stands_in_the_padding_is_not_read: "rnn-series-point",
    numbers.wrong_numbers_are_named: "lstm-numbers",
    numbers.the_feature_extractor_belongs_to_the_checkpoint: "gru-series-quantiles",
    padding.padded_regions_change_no_caption: "captioner-features",
    refusals.images_that_are_none_are_named: "captioner-features",
}
PLANTED = [(label, check, RECURRENT_FAULTS.get(check, FAULTS[check])) for check, label in SEEN_IN.items()]
PLANTED += [
    (
        "seq2seq-attention",
        padding.padded_sources_change_no_target,
        (token_order.TokenOrder, "__init__", blind_to_padding),
    ),
    (
        "seq2seq-coverage",
        padding.padded_sources_change_no_target,
        (decoder_attention, "_softmax", softmax_over_padding),
    ),
    ("lstm-wide", padding.padding_and_batch_size_change_no_answer, (WideNgrams, "forward", wide_deaf_to_the_mask)),
    ("lstm-wide", saving.missing_weights_are_initialised_by_our_rules, (WideNgrams, "start", lambda wide: None)),
    ("gru-pairs", padding.padding_and_batch_size_change_no_answer, (PairRows, "__init__", pairs_deaf_to_the_mask)),
    ("gru-pairs", saving.missing_weights_are_initialised_by_our_rules, (WideLikeness, "start", lambda wide: None)),
]
PLANTED += [
    ("word2vec-ngrams", check, WORD_VECTOR_FAULTS.get(check, FAULTS[check])) for check in promises("word2vec-ngrams")
]
PLANTED += [
    ("bag-characters-tfidf", check, BAG_FAULTS.get(check, FAULTS[check])) for check in promises("bag-characters-tfidf")
]
PLANTED += [
    ("transformer-text-generation-plain", check, TRANSFORMER_FAULTS.get(check, FAULTS[check]))
    for check in promises("transformer-text-generation-plain")
]
PLANTED += [
    ("recursive-matrix", check, TREE_FAULTS.get(check, FAULTS[check])) for check in promises("recursive-matrix")
]
PLANTED += [("lstm-tagger-crf-entities", check, fault) for check, fault in CRF_FAULTS.items()]
PLANTED += [("mixture-lstm", check, fault) for check, fault in MIXTURE_FAULTS.items()]
