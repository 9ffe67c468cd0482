"""The device that tests run on, where they can run on any: HFSEQ_TEST_DEVICE, the CPU by default.

    cpu       what everybody has
    cuda      a GPU: `tests/gpu/run.py`
    pretend   the CPU's numbers on a device that torch takes for another: `tests/gpu/pretend.py`

Tests make their numbers on the CPU and move them, so that they are the same everywhere.
"""

import os

import torch

_NAME = os.environ.get("HFSEQ_TEST_DEVICE", "cpu")
if _NAME == "pretend":
    from tests.gpu import pretend

    pretend.register()
DEVICE = torch.device(_NAME) if _NAME == "cpu" else torch.device(_NAME, 0)
ON_CPU = DEVICE.type == "cpu"


def without_tf32() -> None:
    """Whole float32 products on a GPU, whose cuDNN rounds them to ten bits unless told otherwise."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def make_comparable() -> None:
    """Whole products, and sums in one order where a GPU has such."""
    if DEVICE.type == "cuda":
        without_tf32()
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
        torch.use_deterministic_algorithms(True, warn_only=True)
