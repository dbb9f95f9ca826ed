"""``python -m phiscale``: see ``phiscale.cli``."""

import sys

from phiscale.cli import main

sys.exit(main())
