"""
Scores of torchmetrics, which is imported when the first of them is called.

It brings torchvision, and this the compiler of torch: seconds that most uses of the library do
without. There is no arithmetic here, so `thesis_lib._sources` leaves this module out of keys.
"""

from torch import Tensor


def binary_auroc(preds: Tensor, target: Tensor) -> Tensor:
    """Area under the ROC, of :func:`torchmetrics.functional.classification.binary_auroc`."""
    from torchmetrics.functional import classification

    return classification.binary_auroc(preds, target)


def binary_calibration_error(preds: Tensor, target: Tensor, *, n_bins: int) -> Tensor:
    """Calibration error, of the function of that name in the same module."""
    from torchmetrics.functional import classification

    return classification.binary_calibration_error(preds, target, n_bins=n_bins)
