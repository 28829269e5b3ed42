"""What cannot be collected on every platform."""

import sys

collect_ignore = ["test_driver.py"] if sys.platform == "win32" else []
"""mutmut does not run on Windows, and the driver uses signals that are not there."""
