"""The pure rules, each with what it must refuse."""
