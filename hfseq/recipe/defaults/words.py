"""Defaults of word vectors that follow the number of words of the corpus; what the settings say stays.

The fewer words there are, the more often each is read, and the narrower the vectors are. 2 million words (WikiText-2)
are read 20 times and 17 million (text8) five times, as in the settings files of those.
"""

from typing import Any, Final

_WORDS_READ: Final = 40_000_000  # in all epochs together
_FEWEST_EPOCHS, _MOST_EPOCHS = 5, 40
_SMALL = 1_000_000  # words
# Words up to which a vector gets so many numbers.
_SIZES = ((200_000, 50), (50_000_000, 100))
_LARGEST = 200


def fewest_occurrences(words: int) -> int:
    """Return how often a word must occur in a corpus of so many words to have a vector."""
    return 2 if words < _SMALL else 5


def vector_size(words: int) -> int:
    """Return how many numbers a vector has."""
    return next((size for limit, size in _SIZES if words <= limit), _LARGEST)


def word_training(words: int, minutes: float) -> dict[str, Any]:
    """Return the `training` section of vectors that may be learnt for so many minutes."""
    return {
        "max_minutes": minutes,
        "num_train_epochs": min(max(round(_WORDS_READ / words), _FEWEST_EPOCHS), _MOST_EPOCHS),
        "learning_rate": 0.05 if words < _SMALL else 0.025,
    }
