"""Matrix products for few rows: out += rows W^T, straight from the weights as they are stored.

A step of a recurrent net at inference multiplies a handful of rows. A library packs the weights anew for each of these
products, which costs more than the product; here each weight is read once, where it lies, so there is no copy of the
weights that could be out of date. Beyond `MANY_ROWS` rows the library's packing pays, and torch takes over.
"""

import sys
from collections.abc import Callable
from functools import cache

import torch

from . import simd
from .modules import import_source

MANY_ROWS = 24

_UNITS = 8  # outputs of one block; its weights stay in the first-level cache while all the rows meet them

_HEADER = """from numba import njit
from hfseq.kernels.cells.simd import add, fma, memory, mul, store, total

LANES = {lanes}
load_v, fill_v, _ = memory({dtype!r}, LANES)
load_r, fill_r, _ = memory({dtype!r}, 1)
"""

_DRIVER = f"""
@njit(nogil=True, cache=True)
def add_product(weight, w, units, rows, x, x_step, out, o, o_step, count, width):
    for unit in range(0, units - units % {_UNITS}, {_UNITS}):
        here = w + unit * width
        for row in range(0, count - count % 4, 4):
            for pair in range(0, {_UNITS}, 2):
                place = o + row * o_step + unit + pair
                tile_4x2(weight, here + pair * width, rows, x + row * x_step, x_step, out, place, o_step, width)
        for row in range(count - count % 4, count):
            tile_1x{_UNITS}(weight, here, rows, x + row * x_step, x_step, out, o + row * o_step + unit, o_step, width)
    for unit in range(units - units % {_UNITS}, units):
        for row in range(count):
            place = o + row * o_step + unit
            tile_1x1(weight, w + unit * width, rows, x + row * x_step, x_step, out, place, o_step, width)
"""


def _tile(rows: int, units: int) -> str:
    """Print out[r, u] += rows[r] . W[u] for a few r and u, whose sums stay in registers."""
    pairs = [(r, u) for r in range(rows) for u in range(units)]
    lines = [f"def tile_{rows}x{units}(weight, w, rows, x, x_step, out, o, o_step, width):"]
    lines.append("    full = width - width % LANES")
    lines += [f"    s{r}{u} = fill_v(0.0)" for r, u in pairs]
    for kind, loop in (("v", "range(0, full, LANES)"), ("r", "range(full, width)")):
        if kind == "r":
            lines += [f"    t{r}{u} = total(s{r}{u})" for r, u in pairs]
        lines.append(f"    for k in {loop}:")
        lines += [f"        x{r}{kind} = load_{kind}(rows, x + {r} * x_step + k)" for r in range(rows)]
        lines += [f"        w{u}{kind} = load_{kind}(weight, w + {u} * width + k)" for u in range(units)]
        total = "s" if kind == "v" else "t"
        lines += [f"        {total}{r}{u} = fma(x{r}{kind}, w{u}{kind}, {total}{r}{u})" for r, u in pairs]
    lines += [
        f"    store(add(load_r(out, o + {r} * o_step + {u}), t{r}{u}), out, o + {r} * o_step + {u})" for r, u in pairs
    ]
    return "@njit(nogil=True, cache=True)\n" + "\n".join(lines)


@cache
def product(dtype: str) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]:
    """Return `add(out, rows, weight)`: out += rows weight^T, all of them contiguous."""
    add_product = sys.modules[products_module(dtype)].add_product

    def add(out: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor) -> None:
        count, width = rows.shape
        units = len(weight)
        places = (weight.data_ptr(), 0, units, rows.data_ptr(), 0, width, out.data_ptr(), 0, units)
        add_product(*places, count, width)

    return add


@cache
def products_module(dtype: str) -> str:
    """Return the name of the module that has `add_product` for this dtype."""
    tiles = "\n\n\n".join(_tile(rows, units) for rows, units in ((4, 2), (1, _UNITS), (1, 1)))
    source = _HEADER.format(lanes=simd.native_lanes(dtype), dtype=dtype) + "\n\n" + tiles + "\n\n" + _DRIVER
    return import_source(source).__name__
