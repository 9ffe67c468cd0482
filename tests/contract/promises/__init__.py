"""What every model promises, as plain functions over one case: a module for each kind of promise.

A check takes a `Case` (`cases.py`) and raises AssertionError when the promise is broken. A new family adds a row to
the registry and is checked; a new promise adds a function to one of the modules, a row to `CHECKS`, and a planted
fault to `faults.py` which shows that it bites.
"""

from collections.abc import Callable

from tests.contract.cases import Case
from tests.contract.promises import gates, numbers, padding, platform, reading_on, refusals, saving, training
from tests.contract.promises.saving import edit_weights, same_weights

__all__ = ["CHECKS", "HEAVY", "ON_CPU_ALONE", "edit_weights", "same_weights"]

CHECKS: dict[Callable[[Case], None], str | None] = {
    platform.auto_classes_load_it: None,
    platform.feature_pipeline_answers_any_text: "body",
    platform.pipeline_answers_any_text: "classifier",
    platform.tagging_pipeline_answers_any_text: "tagger",
    platform.intent_pipeline_answers_any_text: "two heads",
    platform.stock_pipelines_read_the_same_checkpoint: "two heads",
    platform.generation_pipeline_answers_any_text: "language model",
    platform.fill_mask_pipeline_answers_any_text: "masked language model",
    platform.transformers_sees_whether_it_generates: None,
    platform.hidden_states_are_returned_on_request: "layers",
    gates.gates_are_shown_on_request: "gates",
    gates.gates_are_those_of_each_text_alone: "gates",
    gates.models_without_gates_refuse_to_show_them: None,
    platform.keywords_of_forward_are_declared: None,
    platform.embeddings_are_exchanged_or_refused: "ids",
    saving.saving_writes_weights_and_no_code: None,
    saving.save_and_load_are_bit_equal: None,
    saving.damaged_checkpoints_are_refused: None,
    saving.checkpoints_of_another_size_are_refused: "weights",
    saving.misfits_are_refused_before_memory_is_asked_for: "ids",
    saving.missing_weights_are_initialised_by_our_rules: None,
    saving.an_empty_state_dict_initialises_everything: None,
    saving.a_new_head_on_an_old_body_keeps_the_body: "head",
    saving.keys_of_a_newer_config_are_named: None,
    saving.pickles_and_torn_files_are_refused: None,
    saving.copies_and_half_precision_work: "weights",
    padding.padding_and_batch_size_change_no_vector: "body",
    padding.padding_and_batch_size_change_no_answer: "classifier",
    padding.padding_and_batch_size_change_no_token: "tokens",
    padding.prompts_padded_on_the_right_go_on_as_on_the_left: "language model",
    padding.padded_content_gets_no_gradient: "embeddings",
    padding.padding_and_batch_size_change_no_tree: "trees",
    padding.padded_sources_change_no_target: "encoder and decoder",
    reading_on.generation_equals_reading_again: "language model",
    reading_on.wrong_guesses_are_taken_back: "state",
    reading_on.the_cache_has_both_names: "state",
    reading_on.the_config_says_whether_a_cache_is_returned: "cache",
    reading_on.given_tokens_have_the_probability_of_the_logits: "language model",
    reading_on.state_split_equals_whole: "reads on",
    refusals.wrong_config_values_are_refused: None,
    refusals.keywords_that_are_no_field_are_refused: None,
    refusals.keywords_that_nobody_reads_are_refused: None,
    refusals.foreign_ids_are_named: "ids",
    refusals.inputs_that_are_no_batch_are_named: "ids",
    refusals.foreign_labels_are_named: "loss",
    refusals.labels_of_several_classes_are_checked: "several labels",
    numbers.padding_and_batch_size_change_no_number: "numbers",
    numbers.what_stands_in_the_padding_is_not_read: "numbers",
    numbers.wrong_numbers_are_named: "numbers",
    numbers.the_feature_extractor_belongs_to_the_checkpoint: "numbers",
    training.stock_trainer_changes_every_parameter: "loss",
    training.the_same_seed_gives_the_same_run: "loss",
    training.accumulation_is_exact: "loss",
    training.every_parameter_gets_a_gradient: "loss",
    training.checkpointing_gives_the_same_gradients: "layers",
}
"""Each promise, and the trait that a model must have for it to mean something (`Case.traits`); None: every model."""

HEAVY = {
    training.stock_trainer_changes_every_parameter,
    training.the_same_seed_gives_the_same_run,
    training.accumulation_is_exact,
}
"""What takes seconds, and tests transformers more than a configuration: once a family and head, elsewhere slow."""

ON_CPU_ALONE = {
    refusals.foreign_ids_are_named,
    refusals.foreign_labels_are_named,
    refusals.labels_of_several_classes_are_checked,
}
"""On a GPU to look at the values would wait for it at every step; a foreign one ends the whole process there."""
