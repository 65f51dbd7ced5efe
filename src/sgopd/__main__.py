"""``python -m sgopd`` is ``sgopd``."""

from sgopd.cli import main

main()
