"""What `make test-cpus` sets reaches the libraries that add."""

import os

import torch

from hfseq.kernels.cells import simd
from tests.cpus import NUMERICAL, ROOT, SETTINGS


def test_this_run_has_the_settings_that_were_asked_for():
    assert torch.get_num_threads() == int(os.environ.get("OMP_NUM_THREADS", 1))
    asked = os.environ.get("ATEN_CPU_CAPABILITY")
    assert asked is None or torch.backends.cpu.get_cpu_capability() == asked.upper()
    assert str(simd.register_bits()) == os.environ.get("HFSEQ_SIMD_BITS", str(simd.register_bits()))


def test_every_value_is_run_and_every_file_is_there():
    found = {name: {setting.get(name) for setting in SETTINGS} for name in set().union(*SETTINGS)}
    assert found == {
        "ATEN_CPU_CAPABILITY": {None, "default", "avx2"},
        "ONEDNN_MAX_CPU_ISA": {None, "AVX2"},
        "MKL_CBWR": {None, "COMPATIBLE"},
        "OMP_NUM_THREADS": {"1", "2"},
        "HFSEQ_SIMD_BITS": {None, "128", "256", "512"},
    }
    assert [path for path in NUMERICAL if not (ROOT / path).exists()] == []
