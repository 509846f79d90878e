"""The command line, as `python -m keras_adamx`."""

import sys

from keras_adamx_cli import main

sys.exit(main())
