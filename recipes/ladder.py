"""A ladder: models of one task, from the simplest upwards, on the same data, and what each of them costs.

    python recipes/ladder.py --config recipes/configs/ladder/embedded.yaml
    python recipes/ladder.py --config recipes/configs/ladder/classifiers_embedded.yaml
    python recipes/ladder.py --config recipes/configs/ladder/translators_embedded.yaml

The first climbs language models: unigram, bigram, 5-gram, hidden Markov, RNN, LSTM, GRU, transformer. A settings file
with `rungs.of: classifiers` climbs classifiers: majority, TF-IDF regression, bag of words, bag of n-grams, averaged
word vectors, window network, RNN, LSTM, GRU, transformer. One with `rungs.of: translators` climbs translators: word by
word, naive, fed back, made of two language models, with attention, transformer. The table, the picture and a
checkpoint of each rung are written to training.output_dir. `--help` lists every setting; those of classifiers and
translators, beside the --config of such a ladder.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from hfseq.progress import silence_progress
from hfseq.recipe.ladders import save_ladder
from hfseq.recipe.publish import launch_command
from hfseq.settings import check_known, read_key, read_settings
from hfseq.tasks.classifier_ladder.build import CLASSIFIERS
from hfseq.tasks.ladder.build import LANGUAGE_MODELS
from hfseq.tasks.translation_ladder.build import TRANSLATORS

LADDERS = {"language_models": LANGUAGE_MODELS, "classifiers": CLASSIFIERS, "translators": TRANSLATORS}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Which ladder
    asked = read_key("rungs", "of", argv) or "language_models"
    check_known(asked, LADDERS, "rungs.of", kind="ladder")
    ladder = LADDERS[asked]

    # 2. Settings: the YAML file, then what the command line changes
    settings = read_settings(ladder.settings, argv)
    if settings.training.get("disable_tqdm"):
        silence_progress()
    folder = Path(settings.training["output_dir"])
    folder.mkdir(parents=True, exist_ok=True)

    # 3. Data
    data = ladder.load(settings)

    # 4. Tokens: the same for every rung
    prepared = ladder.prepare(settings, data)

    # 5. Make and measure, from rung to rung
    rungs = []
    for rung in ladder.climb(settings, prepared, folder):
        rungs.append(rung)
        print(ladder.line(rung), flush=True)

    # 6. Table
    table = ladder.table(rungs)
    save_ladder(rungs, table, folder, launch_command(sys.argv))
    print(table)

    # 7. Picture
    try:
        ladder.plot(rungs, folder / "ladder.png")
    except ImportError as error:  # the ladder is worth its table without a picture
        print(f"no picture: {error}")

    # 8. Use: each rung lies in a folder of its own
    print(f"table, picture and checkpoints in {folder}")


if __name__ == "__main__":
    main()
