"""Two language models become an encoder and a decoder (Ramachandran et al. 2017).

The encoder takes the embeddings and layers of the one, the decoder embeddings, layers and output weights of the other.
What stands between them, bridge and attention, is new. A language model reads forward, and so does the encoder that is
made of it; a backbone that reads in both directions makes an encoder that does.
"""

from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM

from ..base import load_with_weights_checked
from .backbone import RecurrentModel
from .cells import CELLS, Cell
from .seq2seq_config import Seq2SeqConfig

# What follows from the language models.
_GIVEN = frozenset(
    (
        *("vocab_size", "decoder_vocab_size", "embedding_size", "hidden_size", "num_hidden_layers"),
        *("num_encoder_layers", "bidirectional_encoder", "cell", "feedback", "tie_word_embeddings"),
    )
)


def loaded(source: Any, *, is_encoder: bool) -> Any:
    """Return the model, which may be given by its folder or Hub id, and check that it can take this part."""
    # Of an encoder the head is not needed, and one that reads in both directions has none that writes.
    auto = AutoModel if is_encoder else AutoModelForCausalLM
    model = source if isinstance(source, nn.Module) else load_with_weights_checked(auto, source)
    body: Any = getattr(model, "base_model", None)
    part = "encoder_lm" if is_encoder else "decoder_lm"
    if not isinstance(body, RecurrentModel):
        raise ValueError(
            f"{part} is {type(model).__name__}: give a recurrent language model (RNN, LSTM, GRU or Custom), or its "
            "folder."
        )
    config = body.config
    if config.last_hidden_size not in (None, config.hidden_size):
        raise ValueError(
            f"{part} has last_hidden_size={config.last_hidden_size} and hidden_size={config.hidden_size}: the layers "
            "of an encoder-decoder are of one width, so train a language model that has it."
        )
    if not is_encoder and not isinstance(getattr(model, "lm_head", None), nn.Linear):
        raise ValueError(
            f"decoder_lm is {type(model).__name__} without a full softmax: give a ...ForCausalLM with "
            "adaptive_softmax_cutoffs=None, whose output weights the decoder can take."
        )
    return model


def config_of(encoder: RecurrentModel, decoder: RecurrentModel, overrides: dict[str, Any]) -> Seq2SeqConfig:
    """Return the configuration of both together; what does not fit is an error."""
    fixed = sorted(_GIVEN & overrides.keys())
    if fixed:
        raise ValueError(
            f"{', '.join(fixed)} cannot be chosen: they are those of the language models. Leave them out."
        )
    source, target = encoder.config, decoder.config
    cell = source.make_cell()
    _check_equal("cells", cell, target.make_cell(), _name_of(cell), _name_of(target.make_cell()))
    _check_equal("embedding_size", source.embedding_size, target.embedding_size)
    _check_equal("width of the outputs", source.output_size, target.output_size)
    name = _name_of(cell)
    if name is None:
        raise ValueError(
            f"The cell of {type(source).__name__} has no name in hfseq.CELLS, by which a Seq2SeqConfig could say it: "
            "use one that has."
        )
    # The vocabularies are two, also where they are of one size: each model has learnt vectors of its own.
    derived = {
        "vocab_size": source.vocab_size,
        "decoder_vocab_size": target.vocab_size,
        "embedding_size": target.embedding_size,
        "hidden_size": target.output_size,
        "num_encoder_layers": source.num_hidden_layers,
        "num_hidden_layers": target.num_hidden_layers,
        "bidirectional_encoder": source.bidirectional,
        "cell": name,
        "hidden_dropout": target.hidden_dropout,
        "embedding_dropout": target.embedding_dropout,
        "tie_word_embeddings": target.tie_word_embeddings,
        "pad_token_id": target.pad_token_id,
        "bos_token_id": target.bos_token_id,
        "eos_token_id": target.eos_token_id,
        "encoder_pad_token_id": source.pad_token_id,
    }
    return Seq2SeqConfig(**{**derived, **overrides})


def _name_of(cell: Cell) -> str | None:
    return next((name for name, known in CELLS.items() if known is cell), None)


def _check_equal(what: str, of_encoder: Any, of_decoder: Any, *names: Any) -> None:
    if of_encoder != of_decoder:
        shown = names or (of_encoder, of_decoder)
        raise ValueError(
            f"The language models do not fit: the {what} of encoder_lm is {shown[0]}, of decoder_lm {shown[1]}. "
            "Train both with the same."
        )


@torch.no_grad()
def copy_weights(model: Any, encoder: RecurrentModel, decoder_lm: Any) -> None:
    """Copy what the encoder-decoder takes from the language models."""
    own, body = model.model, decoder_lm.base_model
    own.encoder.embed_tokens.weight.copy_(encoder.embed_tokens.weight)
    own.encoder.layers.load_state_dict(encoder.layers.state_dict())
    own.decoder.embed_tokens.weight.copy_(body.embed_tokens.weight)
    for loop, layer in zip(own.decoder.layers, body.layers, strict=True):
        for name, weight in layer.forward_loop.named_parameters():
            # With input feeding the first layer reads more; these columns are new.
            kept = getattr(loop, name)
            (kept[:, : weight.shape[1]] if name == "weight_ih" else kept).copy_(weight)
    model.lm_head.load_state_dict(decoder_lm.lm_head.state_dict())
