"""The encoder alone as a model of its own: what a sequence autoencoder has learnt without labels (Dai and Le 2015)."""

from pathlib import Path
from typing import Any, Final, cast

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...models.recurrent.seq2seq_config import Seq2SeqConfig
from ...registry import FAMILIES

ENCODER: Final = "encoder"
"""The folder beside the model that holds it; a classifier starts from it by `transfer.from_pretrained`."""


def save_encoder(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Path:
    """Save the encoder as the model without a head of its family, with the tokenizer of the sources."""
    place = folder / ENCODER
    _as_backbone(model).save_pretrained(place)
    getattr(tokenizer, "source", tokenizer).save_pretrained(place)
    return place


def _as_backbone(model: PreTrainedModel) -> PreTrainedModel:
    encoder, config = cast(PreTrainedModel, model.get_encoder()), model.config
    if not isinstance(config, Seq2SeqConfig):
        return encoder  # of a transformer: it is one by itself
    family = FAMILIES[config.cell if config.cell in ("lstm", "gru", "rnn") else "custom"]
    options: dict[str, Any] = {} if family.name != "custom" else {"cell": config.cell}
    make_config, make_body = cast(Any, family.config), cast(Any, family.backbone)
    body = make_body(
        make_config(
            vocab_size=config.vocab_size,
            embedding_size=config.embedding_size,
            hidden_size=config.direction_size,
            num_hidden_layers=config.encoder_depth,
            bidirectional=config.bidirectional_encoder,
            hidden_dropout=config.hidden_dropout,
            pad_token_id=config.source_pad_token_id,
            eos_token_id=config.eos_token_id,
            **options,
        )
    )
    body.load_state_dict(encoder.state_dict())  # the same layers with the same names
    return cast(PreTrainedModel, body)
