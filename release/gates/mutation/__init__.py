"""The `mutation` stage: breaks the code in many small ways and looks whether the tests notice.

`stage` is what the command line runs. `campaign` chooses mutants and runs them, `driver` alone speaks to
mutmut, `verdicts` judges; `mutants` and `imports` say what a mutant is and which tests judge it.
"""
