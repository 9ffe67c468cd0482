"""How well the vectors of sentences tell what means the same: any models, beside word overlap and TF-IDF.

    python recipes/sentence_similarity.py --config recipes/configs/sentence_similarity/embedded.yaml

Every system scores the same pairs; printed is Spearman's rank correlation with the scores of the data. The table is
written to compare.output_dir. `--help` lists every setting.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from hfseq.data.pairs import load_pairs
from hfseq.progress import silence_progress
from hfseq.recipe.publish import launch_command
from hfseq.recipe.runs import evaluated_split
from hfseq.settings import read_settings
from hfseq.tasks.sentence_similarity.build import (
    behind_lines,
    encoder_rows,
    peer_rows,
    reference_texts,
    save_similarity,
    similarity_table,
)
from hfseq.tasks.sentence_similarity.settings import SentenceSimilaritySettings


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(SentenceSimilaritySettings, argv)
    if settings.compare.disable_tqdm:
        silence_progress()
    folder = Path(settings.compare.output_dir)

    # 2. Data: the pairs that are scored, and sentences that none of them is
    dataset = load_pairs(settings.data)
    split = evaluated_split(dataset)
    reference = reference_texts(dataset["train"])

    # 3. The simplest systems, then the models
    rows = []
    for make in (
        peer_rows(reference, dataset[split]),
        encoder_rows(settings.compare, reference, dataset[split]),
    ):
        for row in make:
            rows.append(row)
            print(f"{row.name}: Spearman {100 * row.spearman:.1f}", flush=True)

    # 4. Table
    pairs = dataset[split].num_rows
    save_similarity(rows, folder, launch_command(sys.argv), split=split, pairs=pairs)
    print(similarity_table(rows))
    print(*behind_lines(rows), f"{pairs} pairs of the {split} split; table in {folder}", sep="\n")


if __name__ == "__main__":
    main()
