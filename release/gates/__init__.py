"""The gates: stages that look at the tree or at the artefacts and add evidence, and change neither."""
