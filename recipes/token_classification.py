"""Tagging (named entities, slots, parts of speech) with a model of any family, from text to Hub to pipeline.

    python recipes/token_classification.py --config recipes/configs/token_classification/lstm_embedded.yaml
    accelerate launch --num_processes 1 recipes/token_classification.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/token_classification.py --config ... --training.use_cpu=true --training.num_processes=2

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

import sys
from pathlib import Path

from transformers import DataCollatorForTokenClassification
from transformers.trainer_utils import set_seed

import hfseq
from hfseq.cards.facts import SeedRun
from hfseq.cards.render import write_card
from hfseq.data.tagged import load_tagged
from hfseq.evaluation.tags import best_tags, tagging_metrics
from hfseq.evaluation.trainer_metrics import check_metric_for_best_model
from hfseq.recipe.publish import launch_command
from hfseq.recipe.runs import open_run
from hfseq.settings import read_settings
from hfseq.tasks.tagging.build import (
    TaggingSettings,
    card_facts,
    check_lengths,
    make_model,
    make_tokenizer,
    make_tokens,
    problem_of,
)
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer


def main() -> None:
    """Run the recipe."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(TaggingSettings)
    args = SequenceTrainingArguments(**settings.training)
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        task = load_tagged(settings.data)
        split = "test" if "test" in task.dataset else "validation"
        check_metric_for_best_model(args.metric_for_best_model, problem_of(task))
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

        # 3. Tokens
        tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
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
        compute_metrics=tagging_metrics(task.label_names),
        preprocess_logits_for_metrics=best_tags,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    minutes = trainer.training_seconds / 60

    # 6. Evaluation
    predictions, metrics = trainer.score(tokens[split])
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=minutes)
    facts = card_facts(
        settings,
        task,
        tokens[split],
        split,
        folder,
        predictions=predictions,
        run=run,
        command=launch_command(sys.argv),
    )
    facts.save(folder / "facts.json")
    write_card(folder, facts)

    # 8. Publish, and use
    if settings.hub.repo_id is not None:
        result = hfseq.push(
            folder, settings.hub.repo_id, private=settings.hub.private, with_code=settings.hub.with_code
        )
        print(f"pushed to {result.url}")
    for widget in facts.widgets:
        print(f"{widget.text!r} -> " + ", ".join(f"{each.label}: {each.text}" for each in widget.answers))
    print(f"{split}: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(
        f"{facts.file_mb:.2f} MB, {facts.speed.ms_per_text:.2f} ms a text, {facts.speed.texts_per_second:.0f} texts/s "
        f"in batches, {minutes:.1f} minutes of training; model and card in {folder}"
    )


if __name__ == "__main__":
    main()
