"""Word vectors by word2vec or fastText's n-grams, from text to Hub to pipeline.

    python recipes/word2vec.py --config recipes/configs/word2vec/skipgram_embedded.yaml
    accelerate launch --num_processes 1 recipes/word2vec.py --config ... --section.key=value

Two processes, each of which reads half of every slice of the text:

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/word2vec.py --config ... --training.num_processes=2

`--help` lists every setting; `--resume` goes on from the last checkpoint. Ctrl-C keeps the vectors as they are then.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from hfseq.data.running_text import open_source
from hfseq.progress import silence_progress
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import open_run
from hfseq.recipe.telling import chosen_line
from hfseq.settings import read_settings
from hfseq.tasks.word_vectors.build import card_facts, make_config, read_corpus, report_lines
from hfseq.tasks.word_vectors.measures import evaluate_vectors
from hfseq.tasks.word_vectors.settings import WordVectorsSettings
from hfseq.training.words.trainer import Word2VecTrainer, Word2VecTrainingArguments


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(WordVectorsSettings, argv)
    args = Word2VecTrainingArguments(**settings.training)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))
    processes = args.join_processes()

    # 2. Corpus
    with processes.main_process_first():
        source = open_source(settings.data)
        checkpoint = open_run(settings, folder, resume=settings.resume, record=processes.is_main_process)
    corpus = read_corpus(source, settings)
    settings.follow(corpus.raw_words)
    args = Word2VecTrainingArguments(**settings.training)
    if processes.is_main_process:
        print(f"read: {corpus.raw_words:,} words, {corpus.raw_types:,} different; {len(corpus.words):,} get a vector")
        print(chosen_line(settings.model, settings.training, min_count=settings.corpus.min_count))

    # 3. Model
    config = make_config(settings, corpus)

    # 4. Training
    trainer = Word2VecTrainer(config, corpus, args)
    model = trainer.train(resume_from_checkpoint=checkpoint)
    if not processes.is_main_process:
        return

    # 5. Save
    if trainer.state.interrupted:
        folder = folder / "interrupted"  # the folder itself holds a finished run or none
    model.save_pretrained(folder, vectors_only=settings.save.vectors_only)

    # 6. Evaluation
    metrics, evaluations = evaluate_vectors(model.vectors, settings.evaluation)
    for name, value in metrics.items():
        print(f"{name} {value:.4f} ({evaluations[name].used} questions, {evaluations[name].skipped} skipped)")
    if trainer.state.interrupted:
        sys.exit(f"Interrupted: these vectors are in {folder}; --resume goes on from the last checkpoint, if any.")

    # 7. Card
    facts = card_facts(settings, trainer, folder, metrics=metrics, evaluations=evaluations)

    # 8. Publish, and use
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


if __name__ == "__main__":
    main()
