"""The recipe of the toy task.

    python tests/tasks/toy/letters.py --config tests/tasks/toy/configs/letters/gru_embedded.yaml
    accelerate launch --num_processes 1 tests/tasks/toy/letters.py --config ... --section.key=value

Two processes on a CPU:

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        tests/tasks/toy/letters.py --config ... --training.use_cpu=true --training.num_processes=2
"""

from pathlib import Path

from transformers.trainer_utils import set_seed

from hfseq.cards.facts import SeedRun
from hfseq.data.text import tokenize_dataset
from hfseq.evaluation.trainer_metrics import classification_metrics
from hfseq.recipe.publish import publish, split_line
from hfseq.recipe.runs import evaluated_split, open_run
from hfseq.recipe.telling import chosen_line, rows_line
from hfseq.settings import read_settings
from hfseq.training.arguments import SequenceTrainingArguments
from hfseq.training.trainer import SequenceTrainer
from tests.tasks.toy.build import card_facts, make_model, make_tokenizer, make_words
from tests.tasks.toy.settings import ToySettings


def main() -> None:
    """Run the recipe."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(ToySettings)
    args = SequenceTrainingArguments(**settings.training)
    folder = Path(str(args.output_dir))
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        dataset = make_words(settings.data)
        split = evaluated_split(dataset)
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)
    if args.should_log:
        print(rows_line(dataset, "words"))  # noqa: T201 (as every recipe)
        print(chosen_line(settings.model, settings.training))  # noqa: T201

    # 3. Tokens
    tokenizer = make_tokenizer(dataset["train"])
    tokens = {name: tokenize_dataset(rows, tokenizer) for name, rows in dataset.items()}

    # 4. Model
    model = make_model(settings, tokenizer)

    # 5. Training
    trainer = SequenceTrainer(
        model=model,
        args=args,
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
        compute_metrics=classification_metrics("single_label_classification"),
    )
    trainer.train(resume_from_checkpoint=checkpoint)

    # 6. Evaluation
    _, metrics = trainer.score(tokens[split])
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=trainer.training_seconds / 60)
    facts = card_facts(settings, dataset, split, folder, run)

    # 8. Publish, and use
    print(*publish(facts, folder, settings.hub, [split_line(split, metrics)]), sep="\n")  # noqa: T201 (as every recipe)


if __name__ == "__main__":
    main()
