"""Checks of a checkpoint folder before anything in it is loaded or pushed: whole safetensors files, and nothing else.

`use_safetensors=True` alone does not promise this: transformers reads a pickle that the index names as a shard, and a
shard outside the folder. The functions here run no foreign code; but for `check_finite_weights` they read headers and
JSON only, so they are cheap.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

CONFIG_NAME = "config.json"
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
# A checkpoint with a tokenizer for each language has these two instead, and this class in its tokenizer_config.json.
SOURCE_TOKENIZER_NAME = "source_tokenizer.json"
TARGET_TOKENIZER_NAME = "target_tokenizer.json"
TWO_TOKENIZERS = "SourceTargetTokenizer"
WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"

HOW_TO_CONVERT = (
    "A pickle (*.bin) is never read here; convert one that you trust: "
    "safetensors.torch.save_file(torch.load('pytorch_model.bin', weights_only=True), 'model.safetensors')."
)


class UnsafeArtifactError(OSError):
    """A file of a checkpoint is missing, broken, or of a kind that is not safe to load."""


class MisshapenWeightsError(ValueError, RuntimeError):
    """Weights have another shape than the model.

    A ValueError, as for every checkpoint that does not fit; and a RuntimeError, which transformers raises for it.
    """


def check_weights_folder(folder: str | Path) -> list[Path]:
    """Check that the weights of a local checkpoint folder are whole safetensors files and that its config is JSON.

    Returns:
        The weight files that a loader reads, in the order of their names.

    Raises:
        UnsafeArtifactError: If there is no config or no safetensors weights, if a file is malformed or truncated, or
            if the index names a file that is not a safetensors file of this folder.
    """
    read_json(Path(folder) / CONFIG_NAME)
    return check_weights(Path(folder))


def check_weights(folder: Path) -> list[Path]:
    """Check the weights alone, as `check_weights_folder` does."""
    index, single = folder / INDEX_NAME, folder / WEIGHTS_NAME
    if single.is_file() and index.is_file():
        # transformers prefers the single file in silence, which is the older one if a model was re-saved in shards.
        raise UnsafeArtifactError(f"{folder} holds {WEIGHTS_NAME} and {INDEX_NAME}: delete the one that is stale.")
    if index.is_file():
        return _check_shards(folder, check_shard_names(index))
    if single.is_file():
        check_weights_file(single)
        return [single]
    raise UnsafeArtifactError(_no_weights_message(folder))


def check_weights_file(file: Path) -> None:
    """Check that one file holds whole weights, and is no pickle.

    Raises:
        UnsafeArtifactError: If it is not a safetensors file by name and content.
    """
    if file.suffix != ".safetensors":
        raise UnsafeArtifactError(f"{file} is not a *.safetensors file. {HOW_TO_CONVERT}")
    _tensor_names(file)


def check_finite_weights(files: list[Path]) -> None:
    """Check that no number of the weights is NaN or infinite; this reads all of them.

    Args:
        files: Whole weight files, as `check_weights_folder` returns them.

    Raises:
        UnsafeArtifactError: If one is.
    """
    for path in files:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and not tensor.isfinite().all():
                    raise UnsafeArtifactError(
                        f"{path} holds NaN or infinite numbers in {name}: the run that wrote it diverged. Take an "
                        "earlier checkpoint."
                    )


def tokenizer_files(folder: str | Path) -> list[Path]:
    """Return the files of the vocabularies that a checkpoint folder has: none, one, or source and target."""
    folder, names = Path(folder), [TOKENIZER_NAME]
    config = folder / TOKENIZER_CONFIG_NAME
    if config.is_file() and read_json(config).get("tokenizer_class") == TWO_TOKENIZERS:
        names = [SOURCE_TOKENIZER_NAME, TARGET_TOKENIZER_NAME]
    return [folder / name for name in names if (folder / name).is_file()]


def check_tokenizer_ids(folder: str | Path, config: dict[str, Any] | None = None) -> None:
    """Check that every id of the folder's tokenizers has a row in the model's embeddings.

    Args:
        folder: A local checkpoint folder; without a tokenizer or a `vocab_size` there is nothing to check.
        config: Of the model; by default the folder's `config.json`, if there is one.

    Raises:
        UnsafeArtifactError: If an id of a source is `vocab_size` or more, if one of a target is `decoder_vocab_size`
            (without one, `vocab_size`) or more, or if a file is malformed. One tokenizer is both.
    """
    files = tokenizer_files(folder)
    if config is None:
        config_file = Path(folder) / CONFIG_NAME
        config = read_json(config_file) if files and config_file.is_file() else {}
    if not files:
        return
    has_own = isinstance(config.get("decoder_vocab_size"), int)
    target_name = "decoder_vocab_size" if has_own else "vocab_size"
    try:
        check_ids_fit(files[0], config)
        check_ids_fit(files[-1], config, target_name)
    except UnsafeArtifactError as error:
        if len(files) == 2 and _fits(files[0], config, target_name) and _fits(files[1], config, "vocab_size"):
            raise UnsafeArtifactError(
                f"The languages of {folder} are swapped: the source's ids fit the targets of the model, and the "
                "target's fit its sources. SourceTargetTokenizer(source, target) takes the source first."
            ) from error
        raise


def check_ids_fit(tokenizer_file: Path, config: dict[str, Any], name: str = "vocab_size") -> None:
    """Check that every id in a `tokenizer.json` is below a size in the config, see `check_tokenizer_ids`."""
    if _fits(tokenizer_file, config, name):
        return
    resize = "resize_token_embeddings" if name == "vocab_size" else "resize_decoder_token_embeddings"
    raise UnsafeArtifactError(
        f"The largest id in {tokenizer_file} is {_largest_id(tokenizer_file)}, but the model's {name} is "
        f"{config[name]}: this tokenizer belongs to another model, or the embedding has to be resized ({resize})."
    )


def _fits(tokenizer_file: Path, config: dict[str, Any], name: str) -> bool:
    size = config.get(name)
    return not isinstance(size, int) or _largest_id(tokenizer_file) < size


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, with one kind of error for all the ways in which that can fail."""
    if not path.is_file():
        raise UnsafeArtifactError(f"{path} is missing: a checkpoint folder is what save_pretrained writes.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnsafeArtifactError(f"{path} is not JSON ({error}): save or download it again.") from error
    if not isinstance(content, dict):
        raise UnsafeArtifactError(f"{path} holds a JSON {type(content).__name__}, not an object: save it again.")
    return content


def check_shard_names(index: Path) -> dict[str, str]:
    """Check that an index names nothing but safetensors files of its own folder.

    transformers would read a pickle named there, and a file outside the folder.

    Args:
        index: A `model.safetensors.index.json`; the shards themselves need not be there yet.

    Returns:
        Its map of tensors to shards.
    """
    content = read_json(index)
    weight_map = content.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not isinstance(content.get("metadata"), dict):
        raise UnsafeArtifactError(f"{index} has no weight_map or no metadata: save the model again.")
    for name in weight_map.values():
        is_bare = isinstance(name, str) and not set(name) & set('/\\:\0"') and not name.startswith(".")
        if not is_bare or not name.endswith(".safetensors"):
            raise UnsafeArtifactError(
                f"{index} names {name!r} as a shard: only *.safetensors files of this very folder are read."
            )
    return weight_map


def tensors_of(files: Iterable[str | Path]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Read shape and dtype ("F32", "I64", ...) of each tensor in safetensors files, from their headers alone."""
    found = {}
    for path in files:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            for name in names:
                tensor = file.get_slice(name)
                found[name] = tuple(tensor.get_shape()), tensor.get_dtype()
    return found


@contextmanager
def explained_panics(source: Any) -> Iterator[None]:
    """Turn a panic of the tokenizers library, which is no `Exception`, into an error."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        # By name, as the class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise UnsafeArtifactError(
            f"The tokenizer of {source!r} is malformed ({error}): save or download it again."
        ) from error


def _check_shards(folder: Path, weight_map: dict[str, str]) -> list[Path]:
    """Check that the index and the shards beside it say the same."""
    shards = [folder / name for name in sorted(set(weight_map.values()))]
    for shard in shards:
        if not shard.is_file():
            raise UnsafeArtifactError(
                f"{folder / INDEX_NAME} names {shard.name}, which is missing: save or download it again."
            )
    held = {shard.name: _tensor_names(shard) for shard in shards}
    for tensor, name in weight_map.items():
        if tensor not in held[name]:
            raise UnsafeArtifactError(f"{folder / name} lacks {tensor!r}, which the index puts there: save it again.")
    return shards


def _tensor_names(path: Path) -> set[str]:
    """Open a safetensors file, which checks its header and its length, and list the tensors in it."""
    try:
        with safe_open(path, framework="numpy") as file:
            return set(file.keys())
    except SafetensorError as error:
        raise UnsafeArtifactError(
            f"{path} is truncated or is not a safetensors file ({error}): save or download it again."
        ) from error


def _no_weights_message(folder: Path) -> str:
    pickles = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
    held = f"{', '.join(pickles)} only" if pickles else f"neither {WEIGHTS_NAME} nor {INDEX_NAME}"
    return f"{folder} holds {held}. {HOW_TO_CONVERT}"


def _largest_id(tokenizer_file: Path) -> int:
    """Return the largest id of a `tokenizer.json`, added tokens included; -1 for an empty vocabulary."""
    content = read_json(tokenizer_file)
    try:
        vocab = content["model"]["vocab"]
        # A Unigram vocabulary is a list of (piece, score), where the place is the id.
        ids = range(len(vocab)) if isinstance(vocab, list) else vocab.values()
        return max([-1, *ids, *(token["id"] for token in content.get("added_tokens", []))])
    except (KeyError, TypeError, AttributeError) as error:
        raise UnsafeArtifactError(f"{tokenizer_file} is not a file of the tokenizers library: {error}.") from error
