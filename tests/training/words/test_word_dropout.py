"""Words that are left out at random while a bag learns."""

import numpy as np
import pytest
from datasets import Dataset

from hfseq import train_tokenizer
from hfseq.training.words.bag_corpus import BagCorpus
from hfseq.training.words.bag_trainer import BagTrainer, BagTrainingArguments
from hfseq.training.words.bag_vocabulary import new_bag

TEXTS = ["a b c d e f g h", "", "i j", *["k l m n o p q r s t"] * 60]
ROWS = Dataset.from_dict({"text": TEXTS, "labels": [0, 1, 0, *[1, 0] * 30]})


def bag():
    """A bag of bytes of these texts."""
    options = {"ends_texts": False, "hidden_size": 4, "word_ngrams": 1, "ngram_buckets": 0}
    return new_bag(train_tokenizer(TEXTS, kind="byte"), ROWS, problem_type="single_label_classification", **options)


def test_a_share_of_the_words_is_left_out_and_the_others_keep_their_order():
    corpus = BagCorpus.of(ROWS, bag().model)
    texts = np.array([62, 0, 1, *range(10, 50)])
    numbers, starts = corpus.thinned(texts, 0.5, (0, 7))
    assert len(starts) == len(TEXTS) + 1
    sizes = np.diff(starts)
    whole = np.diff(corpus.text_starts)
    assert not sizes[[text for text in range(len(TEXTS)) if text not in texts]].any()
    assert 0.35 < sizes[texts].sum() / whole[texts].sum() < 0.65
    assert len(np.unique(sizes[10:50])) > 2  # each text loses others
    for text in texts:
        kept = numbers[starts[text] : starts[text + 1]].tolist()
        words = iter(corpus.numbers[corpus.text_starts[text] : corpus.text_starts[text + 1]].tolist())
        assert all(word in words for word in kept)


def test_nothing_is_left_out_of_a_share_of_none_and_draws_depend_on_the_seed():
    corpus = BagCorpus.of(ROWS, bag().model)
    texts = np.arange(len(TEXTS))
    numbers, starts = corpus.thinned(texts, 0.0, (0, 0))
    assert (numbers == corpus.numbers).all()
    assert (starts == corpus.text_starts).all()
    one, same, other = (corpus.thinned(texts, 0.5, seed)[1].tolist() for seed in ((0, 1), (0, 1), (0, 2)))
    assert one == same != other


def trained(folder, **options):
    """The vectors of a trained bag."""
    shared = {"output_dir": str(folder), "use_cpu": True, "report_to": "none", "save_strategy": "no", "num_threads": 1}
    model = bag()
    BagTrainer(model, BagTrainingArguments(**shared, num_train_epochs=2, **options), train_dataset=ROWS).train()
    return model.model.inputs.weight.detach().clone()


def test_a_bag_learns_without_them_and_the_same_each_time(tmp_path):
    pytest.importorskip("numba")
    without, once, twice = (trained(tmp_path, word_dropout=share) for share in (0.0, 0.5, 0.5))
    assert bool((once == twice).all())
    assert not bool((once == without).all())


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_is_none_is_refused(tmp_path, share):
    with pytest.raises(ValueError, match=f"word_dropout={share} must be at least 0 and less than 1"):
        BagTrainingArguments(output_dir=str(tmp_path), word_dropout=share)


def test_the_engine_torch_says_that_it_has_none(tmp_path):
    with pytest.raises(ValueError, match=r"word_dropout=0\.5 needs engine='numba'"):
        trained(tmp_path, word_dropout=0.5, engine="torch")
