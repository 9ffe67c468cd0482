"""The encoder of a translator as a model of its own."""

import torch
from tokenizers import Tokenizer, models
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from hfseq import SourceTargetTokenizer
from hfseq.tasks.translation.encoder import save_encoder
from tests.models.recurrent.small_seq2seq import IDS, small


def tokenizer_of(size, eos):
    vocabulary = {"<pad>": 0, "<unk>": 1} | {f"w{number}": number for number in range(2, size)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": f"w{eos}"}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names)


def test_the_end_of_its_texts_is_that_of_the_sources(tmp_path):
    pair = SourceTargetTokenizer(tokenizer_of(14, eos=3), tokenizer_of(20, eos=18))
    model = small(decoder_vocab_size=20, eos_token_id=18)
    place = save_encoder(model, pair, tmp_path)
    encoder = AutoModel.from_pretrained(place)
    assert encoder.config.eos_token_id == 3 == AutoTokenizer.from_pretrained(place).eos_token_id
    assert torch.equal(encoder(IDS).last_hidden_state, model.get_encoder()(IDS).last_hidden_state)
