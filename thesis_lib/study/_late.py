"""
Scores of torchmetrics, which is imported when the first of them is called.

It brings torchvision and with that the compiler of torch: two fifths of the time that
``import thesis_lib.study`` took. What a library computes is no code of this project, so
`thesis_lib._sources` leaves this module out of keys.
"""

from typing import Any

from torch import Tensor


def binary_auroc(*args: Any, **options: Any) -> Tensor:
    """Area under the ROC, of :func:`torchmetrics.functional.classification.binary_auroc`."""
    from torchmetrics.functional import classification

    return classification.binary_auroc(*args, **options)


def binary_calibration_error(*args: Any, **options: Any) -> Tensor:
    """Calibration error, of the function of that name in the same module."""
    from torchmetrics.functional import classification

    return classification.binary_calibration_error(*args, **options)
