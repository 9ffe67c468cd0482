"""Drawing with a pen, movement by movement (Graves 2013), from drawings to Hub and pictures.

    python recipes/strokes.py --config recipes/configs/strokes/lstm_embedded.yaml
    accelerate launch --num_processes 1 recipes/strokes.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/strokes.py --config ... --training.use_cpu=true --training.num_processes=2

`--model.loss=mse` learns the mean of the next offset alone, as lectures have it.

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers.trainer_utils import set_seed

from hfseq.cards.facts import SeedRun
from hfseq.data.strokes import StrokesCollator, load_strokes, make_rows
from hfseq.progress import silence_progress
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import evaluated_split, open_run, save_history
from hfseq.recipe.telling import chosen_line, rows_line
from hfseq.settings import read_settings
from hfseq.tasks.strokes.build import card_facts, fit_width, kinds_asked, make_model, report_lines, score
from hfseq.tasks.strokes.settings import StrokesSettings
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(StrokesSettings, argv)
    args = SequenceTrainingArguments(**settings.training)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        task = load_strokes(settings.data)
        kinds_asked(settings, task)  # which refuses an unknown one before the training
        settings.follow(task.dataset["train"].num_rows)
        args = SequenceTrainingArguments(**settings.training)  # with what follows the data
        split = evaluated_split(task.dataset)
        if args.should_log:
            print(rows_line(task.dataset, "drawings", task.class_names or ()))
            print(chosen_line(settings.model, settings.training))
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

        # 3. Rows: the points of each drawing, and what the pen does after each
        rows = make_rows(task.dataset)

    # 4. Model
    model = make_model(settings, task)

    # 5. Training
    trainer = SequenceTrainer(
        model=model,
        args=args,
        train_dataset=rows["train"],
        eval_dataset=rows["validation"],
        data_collator=StrokesCollator(),
    )
    trainer.train(resume_from_checkpoint=checkpoint)

    # 6. Evaluation
    fit_width(model, rows["train"])
    metrics = score(model, rows[split])
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=trainer.training_seconds / 60)
    facts = card_facts(settings, task, split, folder, run=run)

    # 8. Publish, and use
    save_history(trainer, folder)
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


if __name__ == "__main__":
    main()
