r"""
Ten losses and a baseline for binary masks, taken on the logits of a network.

Every loss is called ``loss(logits, target)`` with two tensors of shape (B, 1, H, W) and returns a
scalar, the mean over the samples of the batch; smaller is better. In the formulas :math:`x` are
the logits, :math:`p = \sigma(x)` the probability of salt and :math:`t` the target; sums and means
run over the pixels of one sample.

What holds for all of them, and is not repeated below:

- ``target`` may be bool, int or float, with values in [0, 1].
- They compute in float32, or in float64 for float64 logits, also under autocast, on the device of
  their input. Nothing on an accelerator waits for a value.
- ``TypeError``: the logits are not floating point. ``ValueError``: the shapes differ, are not
  (B, 1, H, W) or hold no pixel; or a target on the CPU is NaN or outside [0, 1]. Elsewhere that
  question would stall the device's queue, so such a target makes the loss NaN instead.
- A target without salt makes the ratios of ``dice``, ``jaccard`` and ``lovasz`` blind to the
  prediction. Such a sample is scored on its background: the two classes change roles. So a wrong
  prediction has a positive loss and a gradient at every pixel, as on a target full of salt.
"""

from collections.abc import Callable

from torch import Tensor

from thesis_lib.losses.boundary import contour_loss as contour_loss
from thesis_lib.losses.boundary import hausdorff_loss as hausdorff_loss
from thesis_lib.losses.overlap import bce_dice_loss as bce_dice_loss
from thesis_lib.losses.overlap import dice_loss as dice_loss
from thesis_lib.losses.overlap import jaccard_loss as jaccard_loss
from thesis_lib.losses.overlap import lovasz_loss as lovasz_loss
from thesis_lib.losses.pixelwise import bce_loss as bce_loss
from thesis_lib.losses.pixelwise import focal_loss as focal_loss
from thesis_lib.losses.pixelwise import kl_loss as kl_loss
from thesis_lib.losses.pixelwise import mse_loss as mse_loss
from thesis_lib.losses.pixelwise import wing_loss as wing_loss

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bce": bce_loss,
    "contour": contour_loss,
    "dice": dice_loss,
    "focal": focal_loss,
    "hausdorff": hausdorff_loss,
    "jaccard": jaccard_loss,
    "kl": kl_loss,
    "lovasz": lovasz_loss,
    "mse": mse_loss,
    "wing": wing_loss,
    "bce_dice": bce_dice_loss,
}
