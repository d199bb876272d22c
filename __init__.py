"""BASIC: a neural image codec whose complexity and rate are chosen when it runs, not when it is trained.

`basic.runtime` encodes and decodes and needs numpy and one engine; `basic.training`, `basic.export` and
`basic.benchmarks` need the extras `train` and `bench`.
"""

__version__ = "0.1.0"
