"""The coordinator when the network, the server or the process fails."""
