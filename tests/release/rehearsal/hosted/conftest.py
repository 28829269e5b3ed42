"""What is not tried where: act's host mode runs the stand-ins with bash, which Windows does not have."""

import os

collect_ignore = ["test_standins.py"] if os.name == "nt" else []
