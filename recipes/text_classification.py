"""Text classification with any family that has a classifier, from text to Hub to pipeline.

    python recipes/text_classification.py --config recipes/configs/text_classification/lstm_embedded.yaml
    accelerate launch --num_processes 1 recipes/text_classification.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/text_classification.py --config ... --training.use_cpu=true --training.num_processes=2

A classifier that starts from a language model of `recipes/language_modeling.py` (its tokenizer and its body):

    python recipes/text_classification.py --config ... --transfer.from_pretrained=runs/lstm_lm

With a time in place of settings (what is not said follows the data; `auto` keeps the best of several models):

    python recipes/text_classification.py --config ... --model.type=auto --budget.minutes=5

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers.trainer_utils import set_seed

from hfseq.cards.facts import SeedRun
from hfseq.data.text import TextTask
from hfseq.evaluation.trainer_metrics import check_metric_for_best_model, classification_metrics
from hfseq.progress import silence_progress
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import evaluated_split, open_run, save_history
from hfseq.recipe.telling import chosen_line, rows_line
from hfseq.settings import read_settings
from hfseq.tasks.text_classification.auto import Trained, train_best
from hfseq.tasks.text_classification.build import (
    card_facts,
    load,
    longest_text,
    make_arguments,
    make_model,
    make_tokenizer,
    make_tokens,
    make_trainer,
    report_lines,
    training_cut,
)
from hfseq.tasks.text_classification.compressing import compress
from hfseq.tasks.text_classification.confusion import check_groups
from hfseq.tasks.text_classification.defaults import save_resolved
from hfseq.tasks.text_classification.settings import TextClassificationSettings
from hfseq.tasks.text_classification.tuning import tune


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(TextClassificationSettings, argv)
    args = make_arguments(settings)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))  # transformers sets one where none is given

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        task = load(settings.data)
        labels = [] if task.problem_type == "regression" else task.classes.names
        if args.should_log:
            print(rows_line(task.dataset, f"texts with column {settings.data.label_column!r}", labels))
        split = evaluated_split(task.dataset)
        check_metric_for_best_model(args.metric_for_best_model, task.problem_type)
        check_groups(settings.card.same_labels, task)
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

    # 3. to 5. One model, or with `model.type: auto` several, of which the best on validation is kept
    trained = train_best(train, settings, task, folder, checkpoint)
    trainer, tokens, settings = trained.trainer, trained.tokens, trained.settings
    compression = compress(settings, trainer, tokens)

    # 6. Evaluation
    logits, metrics = trainer.score(tokens[split])
    trainer.save_model(str(folder))
    if not trainer.is_world_process_zero():
        return
    save_resolved(settings, trainer, folder)

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=trained.minutes)
    made = {"tuning": trained.tuning, "candidates": trained.candidates, "mixed": trained.mixed}
    cut = {"compression": compression, "cut": training_cut(tokens)}
    facts = card_facts(settings, task, split, folder, logits=logits, run=run, **made, **cut)

    # 8. Publish, and use
    save_history(trainer, folder)
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


def train(settings: TextClassificationSettings, task: TextTask, folder: Path, checkpoint: str | None) -> Trained:
    """Train one model, whose checkpoints go into the folder of `settings.training`."""
    args = make_arguments(settings)
    set_seed(args.seed)
    words = settings.tokenizer
    if args.should_log:
        limits = {"vocab_size": words.vocab_size, "max_length": words.max_length}
        print(chosen_line(settings.model, settings.training, **limits))

    # 3. Tokens
    with args.main_process_first(desc="tokenizing"):
        limit = longest_text(settings)
        tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer, settings.transfer, limit=limit)
        tokens = make_tokens(task, tokenizer, settings.tokenizer)

    # 4. Model, whose settings are searched for first where `autotune` has a budget
    settings, tuning = tune(settings, task, tokenizer, tokens, folder, is_resumed=checkpoint is not None)
    model = make_model(settings, task, tokenizer)

    # 5. Training
    trainer = make_trainer(
        model,
        make_arguments(settings),
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
        compute_metrics=classification_metrics(task.problem_type),
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    return Trained(settings, trainer, tokens, tuning)


if __name__ == "__main__":
    main()
