"""word2vec's torch engine on a device: which words belong together, and the same vectors from the same seed."""

import pytest
import torch

from tests.closeness import assert_same
from tests.devices import DEVICE
from tests.training.words.test_word_training import MODELS, corpus, make_trainer, separation

__all__ = ["corpus"]  # a fixture

pytestmark = pytest.mark.slow

CONFIGS = MODELS | {
    "skip-gram softmax": {"loss": "softmax"},
    "cbow softmax": {"architecture": "cbow", "loss": "softmax"},
}
OPTIONS = {"engine": "torch", "tokens_per_step": 256, "learning_rate": 0.05, "device": str(DEVICE)}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_learns_which_words_belong_together(corpus, name):
    trainer = make_trainer(corpus, config=CONFIGS[name], num_train_epochs=8, **OPTIONS)
    before = separation(trainer.model)
    trained = trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history]
    assert losses[-1] < losses[0] - 0.01
    assert separation(trained) > 0.3 > before + 0.1
    assert trained.inputs.weight.device.type == "cpu"  # where the model was


def test_the_same_seed_gives_the_same_vectors(corpus):
    first, second, other = (
        make_trainer(corpus, seed=seed, num_train_epochs=1, **OPTIONS).train().inputs.weight for seed in (1, 1, 2)
    )
    assert_same(first, second)
    assert not torch.allclose(first, other)
