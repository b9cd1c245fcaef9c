"""Kennel's script mode: runs a user's training and inference scripts as SageMaker's framework containers do.

Standard library only, Python 3.8 or newer. torch and numpy are used where the user's environment has them.
`python -m kennel_runtime.train` is one training instance, `python -m kennel_runtime.serve` one model server.
"""
