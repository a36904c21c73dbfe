"""The context of runs while their steps run."""
