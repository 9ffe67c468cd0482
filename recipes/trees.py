"""Sentiment, or another label, of texts and of every phrase in them, from parse trees to Hub to pipeline.

    python recipes/trees.py --config recipes/configs/trees/tree_lstm_embedded.yaml
    accelerate launch --num_processes 1 recipes/trees.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/trees.py --config ... --training.use_cpu=true --training.num_processes=2

Without a parser, from the labels of whole texts: `--model.tree=right --data.labels=root` joins words to a tree that
branches to the right (`left`, `balanced`).

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers.trainer_utils import set_seed

from hfseq.cards.facts import SeedRun
from hfseq.data.treebanks import load_trees
from hfseq.evaluation.trainer_metrics import TREES, check_metric_for_best_model
from hfseq.evaluation.trees import NOT_SCORED, best_nodes, tree_metrics
from hfseq.progress import silence_progress
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import evaluated_split, open_run, save_history
from hfseq.recipe.telling import chosen_line, rows_line
from hfseq.settings import read_settings
from hfseq.tasks.trees.build import (
    answers_of,
    card_facts,
    make_model,
    make_tokenizer,
    make_tokens,
    nodes_are_known,
    report_lines,
    score,
)
from hfseq.tasks.trees.settings import TreesSettings
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(TreesSettings, argv)
    args = SequenceTrainingArguments(**settings.training)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        task = load_trees(settings.data)
        settings.follow(task.dataset["train"].num_rows)
        args = SequenceTrainingArguments(**settings.training)  # with what follows the data
        split = evaluated_split(task.dataset)
        check_metric_for_best_model(args.metric_for_best_model, TREES)
        if args.should_log:
            print(rows_line(task.dataset, "trees", task.classes.names))
            print(chosen_line(settings.model, settings.training, labels=settings.data.labels))
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

        # 3. Tokens
        tokenizer = make_tokenizer(task, settings.tokenizer)
        tokens = make_tokens(task, tokenizer, settings)

    # 4. Model
    model = make_model(settings, task, tokenizer)

    # 5. Training
    trainer = SequenceTrainer(
        model=model,
        args=args,
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
        compute_metrics=tree_metrics,
        preprocess_logits_for_metrics=best_nodes,
    )
    trainer.train(resume_from_checkpoint=checkpoint, ignore_keys_for_eval=NOT_SCORED)

    # 6. Evaluation
    answers = answers_of(trainer, tokens[split])
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    # 7. Card
    metrics = score(task, split, answers, has_nodes=nodes_are_known(settings))
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=trainer.training_seconds / 60)
    facts = card_facts(settings, task, split, folder, tokens=tokens, answers=answers, run=run)

    # 8. Publish, and use
    save_history(trainer, folder)
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


if __name__ == "__main__":
    main()
