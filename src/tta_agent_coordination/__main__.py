"""`python -m tta_agent_coordination`: the package's commands."""

import sys

from tta_agent_coordination.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
