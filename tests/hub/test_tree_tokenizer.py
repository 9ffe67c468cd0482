"""A tokenizer of trees travels to the Hub and back with its model."""

from transformers import AutoTokenizer

import hfseq
from hfseq.hub import pull, push
from hfseq.tokenization.files import load_tokenizer
from tests.hub.checkpoints import CARD
from tests.tokenization.test_brackets import FILM


def test_a_tokenizer_of_trees_is_pushed_and_pulled(hub, repo_id):
    tokenizer = hfseq.TreeTokenizer.train([FILM], min_frequency=1, label_names=["0", "1", "2", "3", "4"])
    config = hfseq.BagConfig(vocab_size=len(tokenizer), hidden_size=4, pad_token_id=tokenizer.pad_token_id)
    push(hfseq.BagForSequenceClassification(config), repo_id, tokenizer=tokenizer, card=CARD)
    for source in (repo_id, pull(repo_id)):
        for load in (AutoTokenizer.from_pretrained, load_tokenizer):
            loaded = load(source)
            assert type(loaded) is hfseq.TreeTokenizer and loaded.label_names == tokenizer.label_names
            assert dict(loaded(FILM, return_labels=True)) == dict(tokenizer(FILM, return_labels=True))
