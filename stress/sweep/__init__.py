"""Every public call, cancelled at every moment; small programs, crashed at every point: `python -m stress sweep`."""
