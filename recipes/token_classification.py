"""Tagging (named entities, slots, parts of speech) with a model of any family, from text to Hub to pipeline.

    python recipes/token_classification.py --config recipes/configs/token_classification/lstm_embedded.yaml
    accelerate launch --num_processes 1 recipes/token_classification.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/token_classification.py --config ... --training.use_cpu=true --training.num_processes=2

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import DataCollatorForTokenClassification
from transformers.trainer_utils import set_seed

from hfseq.cards.facts import SeedRun
from hfseq.data.tagged import load_tagged
from hfseq.evaluation.tags import best_tags, tagging_metrics
from hfseq.evaluation.trainer_metrics import TAGGING, check_metric_for_best_model
from hfseq.progress import silence_progress
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import evaluated_split, open_run, save_history
from hfseq.recipe.telling import chosen_line, rows_line
from hfseq.recipe.texts import most_tokens
from hfseq.settings import read_settings
from hfseq.tasks.tagging.build import (
    card_facts,
    check_lengths,
    make_model,
    make_tokenizer,
    make_tokens,
    problem_of,
    report_lines,
    words_cut,
)
from hfseq.tasks.tagging.decoding import choose_decoding
from hfseq.tasks.tagging.settings import TaggingSettings
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(TaggingSettings, argv)
    args = SequenceTrainingArguments(**settings.training)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        task = load_tagged(settings.data)
        settings.follow(task.dataset["train"].num_rows, len(task.classes.names), TAGGING[problem_of(task)][0])
        args = SequenceTrainingArguments(**settings.training)  # with what follows the data
        split = evaluated_split(task.dataset)
        check_metric_for_best_model(args.metric_for_best_model, problem_of(task))
        if args.should_log:
            print(rows_line(task.dataset, "texts with tags", task.classes.names))
            pieces = {"kind": settings.tokenizer.kind, "vocab_size": settings.tokenizer.vocab_size}
            print(chosen_line(settings.model, settings.training, **pieces))
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

        # 3. Tokens
        tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer, limit=most_tokens(settings.model))
        tokens = make_tokens(task, tokenizer, settings.tokenizer)
        check_lengths(tokens, settings.model)

    # 4. Model
    model = make_model(settings, task, tokenizer)

    # 5. Training
    trainer = SequenceTrainer(
        model=model,
        args=args,
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorForTokenClassification(tokenizer),
        compute_metrics=tagging_metrics(task.classes.all_names),
        preprocess_logits_for_metrics=best_tags,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    minutes = trainer.training_seconds / 60

    # 6. Evaluation
    named = settings.model.get("decoding")
    decoding = choose_decoding(trainer, tokens["validation"], problem_of(task), named=named)
    predictions, metrics = trainer.score(tokens[split])
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=minutes)
    answered = {"tokens": tokens[split], "predictions": predictions, "cut": words_cut(task, tokens)}
    facts = card_facts(settings, task, split, folder, run=run, decoding=decoding, **answered)

    # 8. Publish, and use
    save_history(trainer, folder)
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


if __name__ == "__main__":
    main()
