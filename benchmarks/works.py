"""What is timed: our way and what a user would pick instead, on the same input."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import edt
import numpy as np
import segmentation_models_pytorch as smp
import segyio
import surface_distance
import torch
import torch.nn.functional as F
import xarray as xr
from kornia.losses import binary_focal_loss_with_logits
from monai import losses as monai_losses
from monai import metrics as monai
from monai.inferers import AvgMerger, SliceInferer, SlidingWindowSplitter
from scipy import ndimage
from segysak.progress import Progress
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from saltearth import make_volume
from saltvolumes import build_volume, open_volume, save_volume
from thesis_lib.losses import LOSSES
from thesis_lib.metrics import score_volume
from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.patches import PatchBatches
from thesis_lib.patching import PatchGrid, Stitcher, zscore
from thesis_lib.training import TrainConfig, fit, predict_volume
from thesis_lib.xai import class_logit, invert, maximize

Call = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """
    One row of the table.

    Parameters
    ----------
    name, peer : str
        What is done, and what else does it.
    ours, theirs : callable
        Do it once.
    target : float
        Ratio of their time to ours that is aimed at.
    bound : str
        What no way of doing it can do without.
    floor : callable
        Does that alone.
    rounds : int
        How often each is timed, in turn with the others.
    """

    name: str
    peer: str
    ours: Call
    theirs: Call
    target: float
    bound: str
    floor: Call
    rounds: int


def list_losses(device: torch.device) -> Iterator[Work]:
    """Value and gradient of each loss, 32 patches of 128 x 128."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(32, 1, 128, 128, generator=generator).to(device).requires_grad_()
    blobs = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(32, 128, 128)), (0, 9, 9))
    target = torch.from_numpy(blobs > 0).float()[:, None].to(device)
    hausdorff = monai_losses.HausdorffDTLoss(include_background=True, sigmoid=True)
    classes = {"dice": smp.losses.DiceLoss, "jaccard": smp.losses.JaccardLoss}
    peers: list[tuple[str, str, Callable[[Tensor, Tensor], Tensor], float]] = [
        ("bce", "torch", F.binary_cross_entropy_with_logits, 1),
        ("mse", "torch", lambda x, t: F.mse_loss(torch.sigmoid(x), t), 1),
        ("dice", "MONAI", monai_losses.DiceLoss(sigmoid=True), 1),
        ("dice", "smp", classes["dice"]("binary"), 1),
        ("jaccard", "MONAI", monai_losses.DiceLoss(sigmoid=True, jaccard=True), 1),
        ("jaccard", "smp", classes["jaccard"]("binary"), 1),
        ("focal", "MONAI", monai_losses.FocalLoss(), 1),
        ("focal", "smp", smp.losses.FocalLoss("binary"), 1),
        (
            "focal",
            "kornia",
            partial(binary_focal_loss_with_logits, alpha=None, reduction="mean"),
            1,
        ),
        ("kl", "plain torch", _plain_kl, 1),
        ("wing", "plain torch", _plain_wing, 1),
        ("contour", "plain torch", _plain_contour, 1),
        ("bce_dice", "MONAI", monai_losses.DiceCELoss(sigmoid=True), 1),
        ("hausdorff", "MONAI", hausdorff, 4),
        ("lovasz", "smp", smp.losses.LovaszLoss("binary", per_image=True), 2.5),
    ]
    bound, floor = (
        "a sigmoid, a sum, their gradients",
        partial(_differentiate, _add_up, logits, target),
    )
    for name, peer, loss, goal in peers:
        ours, theirs = (partial(_differentiate, f, logits, target) for f in (LOSSES[name], loss))
        yield Work(f"loss {name}, 32x1x128x128", peer, ours, theirs, goal, bound, floor, 100)


def _differentiate(
    loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor
) -> None:
    torch.autograd.grad(loss(logits, target), logits)


def _add_up(x: Tensor, _target: Tensor) -> Tensor:
    return torch.sigmoid(x).sum()


def _plain_kl(x: Tensor, t: Tensor) -> Tensor:
    p, s = torch.sigmoid(x), 0.9 * t + 0.05
    return (s * (s / p).log() + (1 - s) * ((1 - s) / (1 - p)).log()).mean()


def _plain_wing(x: Tensor, t: Tensor) -> Tensor:
    d = (torch.sigmoid(x) - t).abs()
    c = 5 - 5 * np.log1p(5 / 0.5)
    return torch.where(d < 5, 5 * torch.log1p(d / 0.5), d - c).mean()


def _plain_contour(x: Tensor, t: Tensor) -> Tensor:
    band = F.max_pool2d(t, 5, 1, 2) + F.max_pool2d(-t, 5, 1, 2)
    return ((1 + 5 * band) * F.binary_cross_entropy_with_logits(x, t, reduction="none")).mean()


def list_volumes(device: torch.device) -> Iterator[Work]:
    """Scores, patching and prediction of volumes."""
    blobs = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(160, 160, 160)), 12)
    truth, found = blobs > 0, np.roll(blobs, 2, axis=0) > 0.001
    spacing = (25.0, 25.0, 20.0)
    ours = partial(score_volume, found, truth, spacing_m=spacing, tolerance_m=50.0)
    one_by_one = partial(_score_by_monai, found, truth, spacing)
    together = partial(_score_by_surface_distance, found, truth, spacing)
    bound, floor = "two distance transforms", partial(_transform, found, truth, spacing)
    for peer, theirs, goal in (
        ("MONAI one by one", one_by_one, 8),
        ("surface-distance", together, 5),
    ):
        yield Work("all scores of 160^3", peer, ours, theirs, goal, bound, floor, 5)
    cube = blobs.astype(np.float32)
    patching, ours = "cut + stitch 160^3 in 32^3 / 16", partial(_stitch, cube)
    copy = partial(_copy, cube)
    for peer, theirs, goal in (
        ("MONAI", partial(_stitch_by_monai, cube), 3),
        ("a copy of the bytes", copy, 0.5),
    ):
        yield Work(patching, peer, ours, theirs, goal, "a copy of the bytes", copy, 20)
    volume = make_volume((64, 128, 128), seed=0)
    model, other = SaltUNet().to(device), _smp_unet(device)
    cut: dict[str, Any] = {"patch": (64, 64), "stride": (32, 32), "axes": ["inline"]}
    n_patches = 64 * len(PatchGrid((128, 128), (64, 64), (32, 32)))
    yield Work(
        "predict 64x128x128 in 64^2 / 32",
        "MONAI SliceInferer, smp",
        partial(predict_volume, model, volume, **cut, precision="32-true"),
        partial(_predict_by_monai, other, volume, device),
        1.8,
        "the network's forward passes",
        partial(_pass_forward, model, n_patches, device),
        5,
    )


def _transform(found: Any, truth: Any, spacing: tuple[float, ...]) -> None:
    for mask in (found, truth):
        edt.edtsq(mask.view(np.uint8), anisotropy=spacing)


def _pass_forward(model: nn.Module, n_patches: int, device: torch.device) -> None:
    model.eval()
    batch = torch.zeros(64, 1, 64, 64, device=device)
    with torch.inference_mode():
        for _ in range(n_patches // 64):
            model(batch)


def _score_by_monai(found: Any, truth: Any, spacing: tuple[float, ...]) -> None:
    pair = [torch.from_numpy(mask)[None, None] for mask in (found, truth)]
    monai.compute_dice(*pair)
    monai.compute_surface_dice(*pair, [50.0], include_background=True, spacing=spacing)
    monai.compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
    monai.compute_average_surface_distance(*pair, True, symmetric=True, spacing=spacing)


def _score_by_surface_distance(found: Any, truth: Any, spacing: tuple[float, ...]) -> None:
    surface_distance.compute_dice_coefficient(truth, found)
    distances = surface_distance.compute_surface_distances(truth, found, spacing)
    surface_distance.compute_surface_dice_at_tolerance(distances, 50.0)
    surface_distance.compute_robust_hausdorff(distances, 95)
    surface_distance.compute_average_surface_distance(distances)


def _stitch(cube: Any) -> Any:
    grid = PatchGrid(cube.shape, (32,) * 3, (16,) * 3)
    stitcher = Stitcher(grid, window="flat")
    for window, view in grid.extract(cube):
        stitcher.add(window, view)
    return stitcher.merge()


def _stitch_by_monai(cube: Any) -> Any:
    image = torch.from_numpy(cube)[None, None]
    merger = AvgMerger(merged_shape=image.shape)
    for patch, location in SlidingWindowSplitter(patch_size=(32,) * 3, overlap=0.5)(image):
        merger.aggregate(patch, location)
    return merger.finalize()


def _copy(cube: Any) -> None:
    """Copy as many bytes as patches have, there and back."""
    n = len(PatchGrid(cube.shape, (32,) * 3, (16,) * 3))
    source = np.ones((n, 32**3), np.float32)
    target = source.copy()
    source[...] = target


def _smp_unet(device: torch.device) -> nn.Module:
    net = smp.Unet("resnet34", encoder_weights=None, in_channels=1, classes=1)
    return nn.Module.to(net, device)


def _predict_by_monai(model: nn.Module, volume: xr.Dataset, device: torch.device) -> None:
    cube = torch.from_numpy(volume["amplitude"].values)[None, None].to(device)
    inferer = SliceInferer(roi_size=(64, 64), sw_batch_size=64, overlap=0.5, mode="gaussian")
    model.eval()
    with torch.inference_mode():
        inferer(cube, lambda batch: torch.sigmoid(model(batch)))


def list_networks(device: torch.device) -> Iterator[Work]:
    """Training, activation maximization and inversion."""
    volume = make_volume((96, 192, 192), seed=0)
    batches = PatchBatches(
        volume, patch=128, stride=32, axes=["inline"], batch_size=16, n_patches=64, seed=0
    )
    accelerator = "cpu" if device.type == "cpu" else "cuda"
    for precision, target in (("auto", 1.4), ("32-true", 1.25)):
        config = TrainConfig(epochs=1, precision=precision, accelerator=accelerator)
        ours = partial(fit, SaltUNet(), batches, LOSSES["bce"], config, progress=False)
        peer = "smp, plain fp32 loop" + ("" if precision == "auto" else ", equal precision")
        theirs = partial(_train_plainly, _smp_unet(device), batches, device)
        floor = partial(_step_only, SaltUNet().to(device), 4, device)
        work, bound = "training epoch of 4 steps, 16x128^2", "forward and backward in fp32"
        yield Work(work, peer, ours, theirs, target, bound, floor, 3)
    model = SaltClassifier(2).to(device)
    sections = volume["amplitude"].values[::24, :128, :128]
    patches = zscore(torch.from_numpy(sections).mT)[:, None].to(device)
    update_bn([patches], model)  # random weights have no statistics of their own
    ascent: dict[str, Any] = {"steps": 4, "progress": False}
    once = partial(maximize, model, class_logit(1), (128, 128), seeds=range(16), **ascent)
    alone = [
        partial(maximize, model, class_logit(1), (128, 128), seeds=[k], **ascent) for k in range(16)
    ]
    yield Work(
        "AM of 16 images of 128^2, 4 steps",
        "one at a time",
        once,
        lambda: [f() for f in alone],
        3,
        "the same passes of one batch",
        partial(_ascend_only, model, 4, device),
        3,
    )
    ours = partial(invert, model, "block4", patches, levels=[0.01], progress=False)
    theirs = partial(_invert_plainly, model, patches)
    yield Work(
        "NI of 4 patches of 128^2 to a residual of .01",
        "LBFGS of torch",
        ours,
        theirs,
        2,
        "44 passes, forward and backward",
        partial(_ascend_only, model, 11, device),
        2,
    )


def _step_only(model: nn.Module, n_steps: int, device: torch.device) -> None:
    batch = torch.zeros(16, 1, 128, 128, device=device)
    model.train()
    for _ in range(n_steps):
        model(batch).sum().backward()


def _ascend_only(model: nn.Module, n_steps: int, device: torch.device) -> None:
    batch = torch.zeros(16, 1, 128, 128, device=device, requires_grad=True)
    model.eval()
    for _ in range(n_steps):
        torch.autograd.grad(model(batch).sum(), batch)


def _train_plainly(model: nn.Module, batches: PatchBatches, device: torch.device) -> None:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for images, targets in batches.epoch(0):
        optimizer.zero_grad()
        logits = model(images.to(device))
        F.binary_cross_entropy_with_logits(logits, targets.to(device)).backward()
        optimizer.step()


def _invert_plainly(model: SaltClassifier, patches: Tensor) -> None:
    """Lower the residual from noise, patch by patch, in at most 100 passes each."""
    model.eval()
    for patch in patches.split(1):
        goal = model.features(patch)[3].detach()
        image = (0.1 * torch.randn_like(patch)).requires_grad_()
        optimizer = torch.optim.LBFGS(
            [image], max_iter=100, max_eval=100, line_search_fn="strong_wolfe"
        )

        def closure(
            image: Tensor = image, goal: Tensor = goal, optimizer: Any = optimizer
        ) -> Tensor:
            optimizer.zero_grad()
            residual = (model.features(image)[3] - goal).square().sum() / goal.square().sum()
            residual.backward()
            return residual

        optimizer.step(closure)


@contextmanager
def large_segy() -> Iterator[Path]:
    """A SEG-Y file of about 200 MB."""
    folder = Path(mkdtemp())
    shape, rng = (160, 320, 960), np.random.default_rng(0)
    cube = rng.standard_normal(shape, dtype=np.float32)
    names = dict(zip(("inline", "crossline", "vertical"), map(np.arange, shape), strict=True))
    path = folder / "large.sgy"
    save_volume(build_volume(cube, **names), path)
    try:
        yield path
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def list_files(path: Path) -> Iterator[Work]:
    """A large SEG-Y file read and cut into all its patches, and written back."""
    copy = path.with_name("copy.sgy")
    work = f"read {path.stat().st_size / 1e6:.0f} MB of SEG-Y and cut its patches; write it back"
    ours, bound, floor = (
        partial(_round_trip, path, copy),
        "a copy of the file",
        partial(shutil.copyfile, path, copy),
    )
    Progress.set_defaults(disable=True)  # bars of segysak would tear the table apart
    for peer, by_peer, goal in (("segyio by hand", _by_segyio, 1), ("segysak", _by_segysak, 2)):
        yield Work(work, peer, ours, partial(by_peer, path, copy), goal, bound, floor, 4)


def _round_trip(path: Path, copy: Path) -> None:
    volume = open_volume(path, vertical="depth", spacing_m=(25.0, 25.0)).load()  # once, as others
    cube = volume["amplitude"].values
    grid = PatchGrid(cube.shape, (1, 64, 64), (1, 64, 64))
    sum(float(view[0, 0, 0]) for _, view in grid.extract(cube))
    save_volume(volume, copy, like=path)


def _by_segyio(path: Path, copy: Path) -> None:
    with segyio.open(path) as file:
        cube = segyio.tools.cube(file)
    grid = PatchGrid(cube.shape, (1, 64, 64), (1, 64, 64))
    sum(float(view[0, 0, 0]) for _, view in grid.extract(cube))
    copy.write_bytes(path.read_bytes())
    with segyio.open(copy, "r+") as file:
        for number, line in enumerate(file.ilines):
            file.iline[line] = cube[number]


def _by_segysak(path: Path, copy: Path) -> None:
    volume = xr.open_dataset(
        path, dim_byte_fields={"iline": 189, "xline": 193}, extra_byte_fields={}
    )
    cube = volume["data"].values
    grid = PatchGrid(cube.shape, (1, 64, 64), (1, 64, 64))
    sum(float(view[0, 0, 0]) for _, view in grid.extract(cube))
    volume.seisio.to_segy(copy, iline=189, xline=193)
