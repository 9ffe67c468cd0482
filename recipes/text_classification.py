"""Text classification with any family that has a classifier, from text to Hub to pipeline.

    python recipes/text_classification.py --config recipes/configs/text_classification/lstm_embedded.yaml
    accelerate launch --num_processes 1 recipes/text_classification.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/text_classification.py --config ... --training.use_cpu=true --training.num_processes=2

A classifier that starts from a language model of `recipes/language_modeling.py` (its tokenizer and its body):

    python recipes/text_classification.py --config ... --transfer.from_pretrained=runs/lstm_lm

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

import sys
from pathlib import Path

from datasets import DatasetDict
from transformers.trainer_utils import set_seed

import hfseq
from hfseq.cards.facts import SeedRun
from hfseq.cards.render import write_card
from hfseq.data.text import tokenize_dataset
from hfseq.evaluation.trainer_metrics import check_metric_for_best_model, classification_metrics
from hfseq.recipe.publish import launch_command
from hfseq.recipe.runs import open_run
from hfseq.settings import read_settings
from hfseq.tasks.text_classification.build import (
    ClassificationSettings,
    card_facts,
    load_task,
    make_model,
    make_tokenizer,
)
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer


def main() -> None:
    """Run the recipe."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(ClassificationSettings)
    args = SequenceTrainingArguments(**settings.training)
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        task = load_task(settings.data)
        split = "test" if "test" in task.dataset else "validation"
        check_metric_for_best_model(args.metric_for_best_model, task.problem_type)
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

        # 3. Tokens
        tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer, settings.transfer)
        tokens = DatasetDict(
            {
                name: tokenize_dataset(rows, tokenizer, settings.tokenizer.max_length)
                for name, rows in task.dataset.items()
            }
        )

    # 4. Model
    model = make_model(settings, task, tokenizer)

    # 5. Training
    trainer = SequenceTrainer(
        model=model,
        args=args,
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
        compute_metrics=classification_metrics(task.problem_type),
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    minutes = trainer.training_seconds / 60

    # 6. Evaluation
    logits, metrics = trainer.score(tokens[split])
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=minutes)
    facts = card_facts(settings, task, split, folder, logits=logits, run=run, command=launch_command(sys.argv))
    facts.save(folder / "facts.json")
    write_card(folder, facts)

    # 8. Publish, and use
    if settings.hub.repo_id is not None:
        result = hfseq.push(
            folder, settings.hub.repo_id, private=settings.hub.private, with_code=settings.hub.with_code
        )
        print(f"pushed to {result.url}")
    for widget in facts.widgets:
        print(f"{widget.text!r:60} -> {widget.output[0].label} ({widget.output[0].score:.2f})")
    print(f"{split}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(
        f"{facts.file_mb:.2f} MB, {facts.speed.ms_per_text:.2f} ms a text, {facts.speed.texts_per_second:.0f} texts/s "
        f"in batches, {minutes:.1f} minutes of training; model and card in {folder}"
    )


if __name__ == "__main__":
    main()
