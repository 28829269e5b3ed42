"""`python -m tta_agent_coordination worker module:app`: the package's commands, one so far."""

import sys

from tta_agent_coordination.worker.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
