"""``python -m convnet``: the same as the ``convnet`` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
