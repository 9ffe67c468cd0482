"""The ladder of language models on one text: unigram, bigram, 5-gram, hidden Markov, RNN, LSTM, GRU, transformer.

    python recipes/ladder.py --config recipes/configs/ladder/embedded.yaml

Each rung is scored on every token of the same split; the table, the picture and a checkpoint of each rung are written
to training.output_dir. `--help` lists every setting.
"""

import sys
from pathlib import Path

from hfseq.data.documents import load_documents
from hfseq.recipe.language import make_text, make_tokenizer
from hfseq.recipe.publish import launch_command
from hfseq.settings import read_settings
from hfseq.tasks.ladder.build import ladder_table, plot_ladder, save_ladder, train_rungs
from hfseq.tasks.ladder.settings import LadderSettings


def main() -> None:
    """Run the recipe."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(LadderSettings)
    folder = Path(settings.training["output_dir"])
    folder.mkdir(parents=True, exist_ok=True)

    # 2. Data
    dataset = load_documents(settings.data)

    # 3. Tokens: the same for every rung
    tokenizer = make_tokenizer(dataset, settings.tokenizer)
    texts = {name: make_text(rows, tokenizer, settings.tokenizer) for name, rows in dataset.items()}

    # 4. Count, then train, from rung to rung
    rungs = []
    for rung in train_rungs(settings, dataset, texts, tokenizer, folder):
        rungs.append(rung)
        print(f"{rung.name}: {rung.metrics}\n    {rung.sample!r}", flush=True)

    # 5. Table and picture
    save_ladder(rungs, folder, launch_command(sys.argv))
    print(ladder_table(rungs))
    try:
        plot_ladder(rungs, folder / "ladder.png")
    except ImportError as error:  # the ladder is worth its table without a picture
        print(f"no picture: {error}")
    print(f"table, picture and checkpoints in {folder}")


if __name__ == "__main__":
    main()
