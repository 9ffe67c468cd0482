"""Small recurrent encoder-decoders of every kind, and padded sources and targets for them."""

import torch

from hfseq import Seq2SeqConfig, Seq2SeqForConditionalGeneration

SIZES = {
    **{"vocab_size": 14, "embedding_size": 6, "hidden_size": 8, "hidden_dropout": 0.0},
    **{"bos_token_id": 2, "eos_token_id": None},  # a text that is generated has the length that was asked for
}
SIDES = torch.tensor([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1]])  # no padding, on the right, on the left
IDS = torch.randint(4, 14, SIDES.shape, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randint(4, 14, (3, 5), generator=torch.Generator().manual_seed(2))
LABELS = torch.tensor([[5, 6, 7, 3, 9], [8, 4, 3, -100, -100], [4, -100, -100, -100, -100]])
GREEDY = {"max_new_tokens": 6, "do_sample": False}

ATTENTIONS = {
    "none": {"attention": "none"},
    "dot": {"attention": "dot"},
    "general": {"attention": "general"},
    "additive": {"attention": "additive"},
    "heads": {"attention": "multi_head", "num_attention_heads": 2},
}
VARIANTS = ATTENTIONS | {
    "naive": {"feedback": False, "attention": "none", "cell": "gru"},
    "naive-attention": {"feedback": False, "num_hidden_layers": 2},
    "feeding": {"input_feeding": True, "num_hidden_layers": 2, "num_encoder_layers": 1},
    "feeding-heads": {**ATTENTIONS["heads"], "input_feeding": True, "cell": "gru"},
    "coverage": {"attention": "additive", "coverage": True},
    "coverage-feeding": {"attention": "additive", "coverage": True, "input_feeding": True, "cell": "lstm_peephole"},
    "deep": {"num_encoder_layers": 3, "num_hidden_layers": 2, "cell": "gru"},
    "one-way": {"bidirectional_encoder": False, "cell": "rnn", "attention": "dot"},
    "two-vocabularies": {"decoder_vocab_size": 20, "encoder_pad_token_id": 1},
    "tied": {"embedding_size": 8, "tie_word_embeddings": True, "cell": "minimal_gated"},
}


def small(**options):
    """A small model in evaluation mode, the same one every time: nothing is zero that would hide a fault."""
    torch.manual_seed(0)
    model = Seq2SeqForConditionalGeneration(Seq2SeqConfig(**{**SIZES, **options})).eval()
    torch.manual_seed(0)  # whatever the initialisation has drawn
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.uniform_(-0.9, 0.9)
            if "embed" in name:
                parameter.normal_()
    return model
