"""``python -m napari_neuroscope.cli``."""

import sys

from napari_neuroscope.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
