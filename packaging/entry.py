"""What the frozen program starts with."""

import sys

from appliance.__main__ import run

sys.exit(run())
