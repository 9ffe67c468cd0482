"""Forecasts of series, or labels of their steps, from a table to a walk-forward evaluation, Hub and pipeline.

    python recipes/series.py --config recipes/configs/series/lstm_seasons.yaml
    accelerate launch --num_processes 1 recipes/series.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/series.py --config ... --training.use_cpu=true --training.num_processes=2

Your own table: `--data.path=sales.csv --data.time_column=day --data.target_columns=[sales]`. What is learnt lies
before a cut in time, what is measured after it; what looks ahead is refused. The card is not advice.

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers.trainer_utils import set_seed

from hfseq.cards.facts import SeedRun
from hfseq.data.series import load_series
from hfseq.progress import silence_progress
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import open_run, save_history
from hfseq.recipe.telling import chosen_line
from hfseq.settings import read_settings
from hfseq.tasks.series.build import card_facts, read_line, report_lines
from hfseq.tasks.series.folds import make_model, make_trainer, measure, prepare, walk
from hfseq.tasks.series.settings import SeriesSettings
from hfseq.training.series import SeriesTrainingArguments


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(SeriesSettings, argv)
    args = SeriesTrainingArguments(**settings.training)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data: the table, and where time is cut
    with args.main_process_first(desc="preparing the data"):
        table = load_series(settings.data)
        *earlier, last = settings.split.cut(len(table.axis))

        # 3. Windows and scales, of what lies before the cut alone
        own = prepare(settings, table, last)
        settings.follow(len(own.train))
        args = SeriesTrainingArguments(**settings.training)  # with what follows the data
        if args.should_log:
            print(read_line(settings, table, own))
            print(chosen_line(settings.model, settings.training, context=settings.windows.context))
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

    # 4. Model
    model = make_model(settings, table, own.extractor)

    # 5. Training, before the last cut
    trainer = make_trainer(settings, args, table, own, model)
    trainer.train(resume_from_checkpoint=checkpoint)

    # 6. Evaluation: after the last cut, and of models of the earlier ones
    trainer.save_model()
    results = [*walk(settings, args, table, earlier), measure(settings, table, own, trainer.model)]
    if not trainer.is_world_process_zero():
        return

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=results[-1].metrics, minutes=trainer.training_seconds / 60)
    facts = card_facts(settings, table, own, results, trainer.model, folder, run)

    # 8. Publish, and use
    save_history(trainer, folder)
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


if __name__ == "__main__":
    main()
