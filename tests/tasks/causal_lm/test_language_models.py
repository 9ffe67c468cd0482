"""Language models under Trainer and by hand: what published code gets wrong, and what is refused by name."""

import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

import hfseq
from hfseq.data.documents import DocumentSettings, load_documents
from hfseq.models.heads.causal_lm import next_tokens
from hfseq.recipe.language import LanguageTokenizerSettings, check_marks
from tests.closeness import assert_same
from tests.contract.cases import VOCABULARY, LanguageModelCase


def small(head=hfseq.GRUForCausalLM, config=hfseq.GRUConfig, **options):
    torch.manual_seed(0)
    return head(config(vocab_size=30, embedding_size=16, hidden_size=16, hidden_dropout=0.0, **options))


def test_label_smoothing_does_not_teach_a_language_model_to_copy(tmp_path):
    rows = [list(range(3 + i % 10, 9 + i % 10)) for i in range(40)]
    model = small()
    args = TrainingArguments(
        str(tmp_path),
        use_cpu=True,
        label_smoothing_factor=0.1,
        max_steps=60,
        learning_rate=0.03,
        per_device_train_batch_size=20,
        disable_tqdm=True,
        save_strategy="no",
    )
    Trainer(model, args, train_dataset=Dataset.from_dict({"input_ids": rows, "labels": rows})).train()
    assert model.eval()(torch.tensor([[5, 6, 7]])).logits.argmax(-1).tolist() == [[6, 7, 8]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_updates_tokens_are_those_that_are_predicted_whatever_the_padding_side(side, tmp_path):
    rows = [[5, 6, 7], [5, 6, 7, 8, 9, 10]]
    padded = [[0] * 3 + rows[0] if side == "left" else rows[0] + [0] * 3, rows[1]]
    batch = {"input_ids": torch.tensor(padded)}
    batch["attention_mask"] = (batch["input_ids"] > 0).long()
    batch["labels"] = batch["input_ids"].masked_fill(batch["input_ids"] == 0, -100)
    args = hfseq.SequenceTrainingArguments(str(tmp_path), use_cpu=True)
    trainer = hfseq.SequenceTrainer(small(), args, train_dataset=Dataset.from_dict({"input_ids": rows}))
    assert trainer._get_num_items_in_batch([batch], torch.device("cpu")) == 7
    assert (next_tokens(batch["labels"], batch["attention_mask"]) != -100).sum() == 7


@pytest.mark.parametrize("bf16", [False, True])
def test_the_adaptive_softmax_trains_under_autocast(bf16):
    model, ids = small(adaptive_softmax_cutoffs=[10]).train(), torch.arange(3, 15).view(2, 6)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = model(ids, labels=ids).loss
    loss.backward()
    assert loss.dtype == torch.float32 and all(p.grad is not None for p in model.parameters())
    model.eval()
    assert_same(model(ids).logits.exp().sum(-1), 1)


def test_logits_are_kept_by_number_or_by_place_and_the_loss_is_of_all():
    model, ids = small().eval(), torch.arange(3, 15).view(2, 6)
    whole = model(ids, labels=ids)
    for kept, columns in ((2, slice(4, 6)), (torch.tensor([1, 3]), [1, 3]), (torch.tensor([0]), [0])):
        part = model(ids, labels=ids, logits_to_keep=kept)
        assert_same(part.logits, whole.logits[:, columns])  # other shapes of products add in another order
        assert_same(part.loss, whole.loss)


def test_hidden_states_are_returned_when_asked_for_alone():
    model, ids = small(temporal_activation_regularization=1.0).train(), torch.arange(3, 15).view(2, 6)
    assert model(ids, labels=ids).hidden_states is None
    assert len(model(ids, labels=ids, output_hidden_states=True).hidden_states) == 2


def test_what_cannot_be_resized_says_so_before_anything_changes():
    adaptive = small(adaptive_softmax_cutoffs=[10])
    hidden = hfseq.HMMForCausalLM(hfseq.HMMConfig(vocab_size=30, num_states=2))
    for model in (adaptive, hidden):
        with pytest.raises(ValueError, match="cannot be resized to 40|cannot become 40"):
            model.resize_token_embeddings(40)
        assert model.config.vocab_size == 30
    tied = small(tie_word_embeddings=True)
    tied.resize_token_embeddings(40)
    assert tied.lm_head.weight is tied.model.embed_tokens.weight and tied(torch.tensor([[39]])).logits.shape[-1] == 40


def test_a_stream_trainer_refuses_what_would_change_or_break_its_loss(tmp_path):
    def make(**options):
        return hfseq.StreamTrainingArguments(str(tmp_path), use_cpu=True, **options)

    with pytest.raises(ValueError, match=r"label_smoothing_factor=0\.1"):
        make(label_smoothing_factor=0.1)
    with pytest.raises(ValueError, match="gradient checkpointing"):
        make(gradient_checkpointing=True)
    with pytest.raises(ValueError, match="average_tokens_across_devices"):
        make(average_tokens_across_devices=False)
    text = hfseq.TokenText.from_documents([[3, 4, 5, 6]] * 20)
    with pytest.raises(ValueError, match="compute_loss_func"):
        hfseq.StreamTrainer(small(), make(), text, compute_loss_func=print)
    ngrams = hfseq.NGramForCausalLM(hfseq.NGramConfig(vocab_size=30, order=2)).fit([[3, 4, 5, 6]])
    args = make(carry="none", per_device_eval_batch_size=1)
    assert hfseq.StreamTrainer(ngrams, args, eval_dataset=text).evaluate()["eval_perplexity"] > 1


def test_a_start_inside_a_text_and_a_blank_condition_are_refused(tmp_path):
    lines = DocumentSettings(name="embedded", documents="lines")
    for end in (False, True):
        with pytest.raises(ValueError, match=r"set tokenizer\.start=false|Set tokenizer\.start=false"):
            check_marks(LanguageTokenizerSettings(start=True, end=end), lines, "stream")
    check_marks(LanguageTokenizerSettings(start=True), lines, "document")
    (tmp_path / "rows.csv").write_text("text,label\n" + "a b,x\nc d,\n" * 5, encoding="utf-8")
    with pytest.raises(ValueError, match=r"row 1.*(blank|not a text)"):
        load_documents(DocumentSettings(path=str(tmp_path / "rows.csv"), condition_column="label"))


def test_tokens_that_must_not_be_written_are_not_written_fast_either(tmp_path):
    case = LanguageModelCase(hfseq.FAMILIES["lstm"], "text-generation", tmp_path)
    model, ids = case.model(), torch.tensor([[5, 6, 7]])
    options = {"max_new_tokens": 12, "pad_token_id": 0, "suppress_tokens": [0, 1, 2, 3, 5, 8]}
    slow = model.generate(ids, do_sample=False, **options)
    assert torch.equal(model.generate(ids, do_sample=False, custom_generate=hfseq.fused_generate, **options), slow)
    drawn = model.generate(
        ids, do_sample=True, custom_generate=hfseq.fused_generate, num_return_sequences=8, **options
    )
    assert not set(drawn[:, 3:].flatten().tolist()) & {1, 2, 3, 5, 8} and drawn.max() < len(VOCABULARY)
