"""A model that writes what is to be seen in an image, from pictures or stored features to Hub to pipeline.

    python recipes/captioning.py --config recipes/configs/captioning/lstm_shapes.yaml
    accelerate launch --num_processes 1 recipes/captioning.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/captioning.py --config ... --training.use_cpu=true --training.num_processes=2

Your pictures: a table with columns `image` (a path, or the picture) and `captions`. Start from an image encoder of
transformers that has learnt from many pictures: `--vision.from_pretrained=FOLDER --vision.freeze=true`.

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers.trainer_utils import set_seed

from hfseq.cards.facts import SeedRun
from hfseq.data.captions import CAPTIONS, load_captions
from hfseq.evaluation.translation import translation_scores
from hfseq.progress import silence_progress
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import evaluated_split, open_run, save_history
from hfseq.recipe.telling import chosen_line, rows_line
from hfseq.settings import read_settings
from hfseq.tasks.captioning.build import (
    card_facts,
    make_model,
    make_processor,
    make_tokenizer,
    make_tokens,
    report_lines,
)
from hfseq.tasks.captioning.settings import CaptioningSettings
from hfseq.training.captions import CaptionTrainer
from hfseq.training.seq2seq import EncoderDecoderTrainingArguments


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(CaptioningSettings, argv)
    args = EncoderDecoderTrainingArguments(**settings.training)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        task = load_captions(settings.data)
        captions = sum(map(len, task.dataset["train"][CAPTIONS][:]))
        settings.follow(captions, has_features=task.has_features)
        split = evaluated_split(task.dataset)
        if args.should_log:
            print(rows_line(task.dataset, "pictures"))
            print(chosen_line(settings.model, settings.training, captions=captions))
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

        # 3. Pictures and tokens
        make_processor(task, settings.vision)
        tokenizer = make_tokenizer(task.dataset["train"], settings.tokenizer)
        tokens = make_tokens(task.dataset, tokenizer, settings.tokenizer)

    # 4. Model
    model = make_model(settings, task, tokenizer, tokens["train"])

    # 5. Training
    trainer = CaptionTrainer(
        model,
        args,
        images=task.images,
        references=task.dataset["validation"][CAPTIONS][:],
        train_dataset=tokens["train"],
        eval_dataset=tokens["validation"],
        processing_class=tokenizer,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    minutes = trainer.training_seconds / 60

    # 6. Evaluation, with the beams of the finished model
    written = trainer.write(tokens[split], num_beams=settings.generation.num_beams)
    metrics = translation_scores(task.dataset[split][CAPTIONS][:], written)
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=minutes)
    facts = card_facts(settings, trainer, task, tokens, split, written=written, run=run)

    # 8. Publish, and use
    save_history(trainer, folder)
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


if __name__ == "__main__":
    main()
