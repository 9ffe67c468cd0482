"""Training of captioners: rows of numbered pictures, each with one caption of its picture.

A picture with several captions is several rows of training, and one row of an evaluation, which writes one text and
scores it against all captions of the picture.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import EvalPrediction, PreTrainedTokenizerBase

from ..data.captions import IMAGE, Images
from ..evaluation.translation import translation_scores
from ..models.base import IGNORED
from .batching import row_lengths
from .seq2seq import EncoderDecoderTrainer, texts_of


class CaptionCollator:
    """Make batches: what the model reads of the pictures, and labels (B, T) with -100 behind each."""

    def __init__(self, images: Images, model: Any) -> None:
        self._images, self._model = images, model

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Join rows with `image` and `labels`."""
        labels = np.full((len(rows), max(len(row["labels"]) for row in rows)), IGNORED, dtype=np.int64)
        for place, row in enumerate(rows):
            labels[place, : len(row["labels"])] = row["labels"]
        batch = self._images.inputs([row[IMAGE] for row in rows])
        batch["labels"] = torch.from_numpy(labels)
        # As for pairs of texts: Trainer may take the labels away, which then could not make these any more.
        batch["decoder_input_ids"] = self._model.prepare_decoder_input_ids_from_labels(batch["labels"])
        return batch


class CaptionTrainer(EncoderDecoderTrainer):
    """`EncoderDecoderTrainer` for captions: a dataset with columns `image`, a number, and `labels`, ids.

    Args:
        model: A captioner.
        args: `EncoderDecoderTrainingArguments`.
        images: Gives what the model reads of the numbered pictures.
        references: All captions of each row of `eval_dataset`.
        **kwargs: Those of `Trainer`; `processing_class` is the tokenizer.
    """

    def __init__(
        self, model: Any, args: Any, *, images: Images, references: Sequence[Sequence[str]], **kwargs: Any
    ) -> None:
        args.remove_unused_columns = False  # no model reads the number of a picture
        tokenizer: PreTrainedTokenizerBase = kwargs["processing_class"]

        def compute_metrics(evaluated: EvalPrediction) -> dict[str, float]:
            return translation_scores(references, texts_of(evaluated.predictions, tokenizer))

        self._images = images
        kwargs["data_collator"] = CaptionCollator(images, model)
        kwargs["compute_metrics"] = compute_metrics if args.predict_with_generate else None
        super().__init__(model, args, **kwargs)

    def _lengths(self, dataset: Dataset) -> np.ndarray:
        """Return the tokens of the captions: pictures are all of one size."""
        return row_lengths(dataset.select_columns("labels").rename_column("labels", "input_ids"))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save as `Trainer`, and the image processor too: each checkpoint can then describe pictures."""
        super()._save(output_dir, state_dict)
        processor = getattr(self._images, "processor", None)
        if processor is not None:
            processor.save_pretrained(output_dir or str(self.args.output_dir))

    def write(self, dataset: Dataset, **generation: Any) -> list[str]:
        """Write a caption for each row, in the order of the dataset."""
        kept, self.compute_metrics = self.compute_metrics, None  # which knows the captions of other rows
        try:
            return [text.strip() for text in super().write(dataset, **generation)]  # some tokens begin with a blank
        finally:
            self.compute_metrics = kept
