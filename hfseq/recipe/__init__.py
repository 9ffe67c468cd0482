"""What every recipe shares: runs, settings, publishing."""

from ..extras import need

need("train")
