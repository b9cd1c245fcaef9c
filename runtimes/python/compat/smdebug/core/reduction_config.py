"""Reductions: taken and not applied, tensors are saved whole."""


class ReductionConfig:
    def __init__(
        self, reductions=None, abs_reductions=None, norms=None, abs_norms=None, save_raw_tensor=False, save_shape=False,
    ):
        self.reductions = reductions or []
        self.abs_reductions = abs_reductions or []
        self.norms = norms or []
        self.abs_norms = abs_norms or []
        self.save_raw_tensor = save_raw_tensor
        self.save_shape = save_shape
