"""What every recipe shares: runs, settings, publishing."""
