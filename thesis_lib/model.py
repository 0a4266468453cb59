"""The network: merger, timm encoder of four blocks, U-Net decoder or classifier head."""

from __future__ import annotations

import copy
import difflib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltvolumes._checks import check_count
from thesis_lib._networks import check_images, evaluating

REDUCTIONS = (4, 8, 16, 32)  # pixels of the input per pixel of block1 to block4
_MISFITS = (AssertionError, RuntimeError, TypeError, ValueError)  # where a patch does not fit
DECODER_CHANNELS = (128, 64, 32, 32, 16)  # at reduction 16, 8, 4, 2 and 1


class SaltEncoder(nn.Module):
    """
    Merger and encoder, the part that segmentation and classification share.

    The merger turns one channel into the three that the encoder expects by three 1x1
    convolutions. They start as plain copies, so that pretrained filters see a grey image.

    Parameters
    ----------
    encoder : str
        Name of a timm model with four stages at reductions 4, 8, 16 and 32.
    pretrained : bool
        Whether the encoder starts from timm's weights instead of random ones.
    seed : int
        Decides about all random weights. The global random state is left as it is.

    Attributes
    ----------
    merger, stem, block1, block2, block3, block4 : Module
        Run one after the other. ``stem`` ends at reduction 2, or does nothing in encoders that
        start at reduction 4.
    channels : tuple of four ints
        Channels of ``block1`` to ``block4``: 64, 128, 256, 512 for ResNet34.
    padded : bool
        Whether patches are continued, by repeating their last row and column, to a whole number of
        32 pixels, and what comes out is cut back. So they are for encoders such as ConvNeXt and VGG
        that round sizes down, or do not take every size. ResNets round up, and need none of it.

    Raises
    ------
    ValueError
        If timm has no such model or its stages do not fit.
    RuntimeError
        If pretrained weights cannot be loaded.
    """

    def __init__(
        self, encoder: str = "resnet34", *, pretrained: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        with _seeded(seed):
            network = _create_network(encoder, pretrained=pretrained)
            self.merger = nn.Conv2d(1, 3, kernel_size=1)
        nn.init.ones_(self.merger.weight)
        nn.init.zeros_(self.merger.bias)  # type: ignore[arg-type]
        stages, channels = _cut_into_stages(encoder, network)
        self.stem: nn.Module = stages.pop(0) if len(stages) == 5 else nn.Identity()
        self.block1, self.block2, self.block3, self.block4 = stages
        self.channels = tuple(channels[-4:])
        self.stem_channels = channels[0] if len(channels) == 5 else 0
        _check_blocks(self)
        self.padded = True
        with suppress(*_MISFITS):  # some encoders do not take every size
            pairs = [_compare_blocks(self, size) for size in ((33, 47), (1, 1))]
            self.padded = any(found != expected for found, expected in pairs)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The four blocks, in the order in which they run."""
        return self.block1, self.block2, self.block3, self.block4

    def features(self, x: Tensor) -> list[Tensor]:
        """
        Outputs of the four blocks.

        Parameters
        ----------
        x : Tensor of shape (B, 1, H, W)
            Z-scored patches of any size.

        Returns
        -------
        list of four Tensors of shape (B, C, h, w)
            With h and w the sizes divided by 4, 8, 16, 32, rounded up.

        Raises
        ------
        TypeError, ValueError
            As `SaltUNet.forward`.
        """
        maps = self._pyramid(self._prepare(x))[1:]
        sizes = [_divide(x.shape[2:], reduction) for reduction in REDUCTIONS]
        return [block[..., :h, :w] for block, (h, w) in zip(maps, sizes, strict=True)]

    def _prepare(self, x: Tensor) -> Tensor:
        """Patches in the dtype of the weights, of a size that the encoder takes."""
        x = check_images("input", x).to(self.merger.weight.dtype)
        height, width = x.shape[2:]
        single = self.training and len(x) == 1 and max(height, width) <= REDUCTIONS[-1]
        if single and any(isinstance(m, _BatchNorm) and m.training for m in self.modules()):
            raise ValueError(
                f"Invalid batch of one patch of {height}x{width} pixels for training. Must be two "
                f"patches at least, or larger than {REDUCTIONS[-1]} pixels: batch normalisation "
                "needs more than one value. Choose another batch_size or n_patches."
            )
        return F.pad(x, (0, -width % 32, 0, -height % 32), "replicate") if self.padded else x

    def _pyramid(self, x: Tensor) -> list[Tensor]:
        maps = [self.stem(self.merger(x))]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return maps


class SaltUNet(SaltEncoder):
    """
    U-Net for salt masks: merger, timm encoder, decoder with skip connections.

    The decoder climbs back in five steps. Each repeats pixels twice along both axes (nearest
    neighbour), cuts the result to the size of the skip it joins, and ends with a 3x3
    convolution, batch normalisation and ReLU; a last 3x3 convolution makes the logits. Cutting
    undoes the rounding up of strided convolutions exactly, so ResNets take any height and width
    without padding (Ronneberger et al. 2015 [1]_; encoder: He et al. 2016 [2]_). For encoders that
    do not round up, such as ConvNeXt, patches are continued: see `SaltEncoder`.

    Parameters
    ----------
    encoder : str
        Name of a timm model with four stages at reductions 4, 8, 16 and 32.
    pretrained : bool
        Whether the encoder starts from timm's weights instead of random ones.
    seed : int
        Decides about all random weights: the same seed gives the same network, whatever was drawn
        before. The global random state is left as it is.

    References
    ----------
    .. [1] Ronneberger et al. (2015). U-Net. https://doi.org/10.1007/978-3-319-24574-4_28
    .. [2] He et al. (2016). Deep residual learning. https://doi.org/10.1109/CVPR.2016.90

    Examples
    --------
    >>> model = SaltUNet(seed=1).eval()
    >>> model(torch.zeros(2, 1, 33, 47)).shape
    torch.Size([2, 1, 33, 47])
    >>> [tuple(block.shape[1:]) for block in model.features(torch.zeros(2, 1, 64, 96))]
    [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]
    """

    def __init__(
        self, encoder: str = "resnet34", *, pretrained: bool = False, seed: int = 0
    ) -> None:
        super().__init__(encoder, pretrained=pretrained, seed=seed)
        skips = (*self.channels[2::-1], self.stem_channels, 0)
        below = (self.channels[3], *DECODER_CHANNELS)
        with _seeded(seed):
            self.decoder = nn.ModuleList(map(_UpStep, below, skips, DECODER_CHANNELS))
            self.head = nn.Conv2d(DECODER_CHANNELS[-1], 1, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """
        Logits of salt.

        Parameters
        ----------
        x : Tensor of shape (B, 1, H, W)
            Z-scored patches of any size.

        Returns
        -------
        Tensor of shape (B, 1, H, W)
            Before the sigmoid. Dimensionless.

        Raises
        ------
        TypeError
            If ``x`` is not a Tensor.
        ValueError
            If ``x`` has not one channel and four axes, or is a single small patch in training.
        """
        patches = self._prepare(x)
        stem, *maps, y = self._pyramid(patches)  # y: (B, 512, H/32, W/32)
        skips = [*reversed(maps), stem if self.stem_channels else None, None]
        for step, skip, reduction in zip(self.decoder, skips, (16, 8, 4, 2, 1), strict=True):
            y = step(y, skip, _divide(patches.shape[2:], reduction))
        logits: Tensor = self.head(y)
        return logits[..., : x.shape[2], : x.shape[3]]

    def stages(self, height: int, width: int) -> list[tuple[str, int, int, int]]:
        """
        What leaves each stage, for drawings of the network.

        Parameters
        ----------
        height, width : int
            Size of a patch, in pixels.

        Returns
        -------
        list of (name, channels, height, width)
            Input, merger, stem (of encoders that have one), block 1 to 4, up 1 to 5, logits.
        """
        model = copy.deepcopy(self).eval()  # hooks, modes and statistics of this one stay
        parts: dict[str, nn.Module] = {"merger": model.merger}
        parts |= {"stem": model.stem} if self.stem_channels else {}
        parts |= {f"block {i}": block for i, block in enumerate(model.blocks, start=1)}
        parts |= {f"up {i}": step for i, step in enumerate(model.decoder, start=1)}
        parts |= {"logits": model.head}
        found = [("input", 1, height, width)]
        for name, part in parts.items():
            part.register_forward_hook(
                lambda _module, _inputs, output, name=name: found.append((name, *output.shape[1:]))
            )
        with torch.no_grad():
            model(model.merger.weight.new_zeros(1, 1, height, width))
        return found


class _UpStep(nn.Module):
    """One step up: repeat pixels, join the skip, convolve."""

    def __init__(self, channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv2d(channels + skip_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, y: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        # From n pixels to 2n - 1 or 2n, nearest neighbour is repetition with the end cut off.
        y = F.interpolate(y, size=size if skip is None else skip.shape[2:], mode="nearest")
        y = y if skip is None else torch.cat([y, skip], dim=1)
        out: Tensor = self.convolve(y)
        return out


class SaltClassifier(SaltEncoder):
    """
    Classifier on the latent representation: the means of the four blocks, concatenated.

    Parameters
    ----------
    n_classes : int
        Classes, at least 2.
    encoder, pretrained, seed
        As in `SaltUNet`.

    Raises
    ------
    TypeError, ValueError
        If ``n_classes`` is not a whole number of at least 2.

    Examples
    --------
    >>> model = SaltClassifier(4, "resnet18").eval()
    >>> model.latent(torch.zeros(2, 1, 99, 99)).shape, model(torch.zeros(2, 1, 99, 99)).shape
    (torch.Size([2, 960]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        n_classes: int,
        encoder: str = "resnet34",
        *,
        pretrained: bool = False,
        seed: int = 0,
    ) -> None:
        check_count("n_classes", n_classes, low=2)
        super().__init__(encoder, pretrained=pretrained, seed=seed)
        with _seeded(seed):
            self.head = nn.Linear(sum(self.channels), n_classes)
        self._frozen = False

    def freeze_encoder(self) -> Self:
        """Let the head alone learn: no other weight moves, nor do BatchNorm's statistics."""
        self._frozen = True
        for name, part in self.named_children():
            part.requires_grad_(name == "head")
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but for a frozen encoder."""
        super().train(mode)
        for name, part in self.named_children():
            part.train(mode and (name == "head" or not self._frozen))
        return self

    @classmethod
    @torch.inference_mode(False)
    def from_segmentation(cls, unet: SaltUNet, n_classes: int, *, seed: int = 0) -> Self:
        """
        Take the encoder of a trained U-Net, drop its decoder and append a new head.

        Parameters
        ----------
        unet : SaltUNet
            Its weights are copied; it stays as it is.
        n_classes : int
            Classes, at least 2.
        seed : int
            Decides about the weights of the head.

        Returns
        -------
        SaltClassifier
            On the device of ``unet``.

        Raises
        ------
        TypeError
            If ``unet`` is not a `SaltUNet`.
        """
        if not isinstance(unet, SaltUNet):
            raise TypeError(f"Invalid unet of type {type(unet).__name__}. Must be a SaltUNet.")
        model = cls(n_classes, unet.encoder, seed=seed)
        encoder = {
            name: value
            for name, value in unet.state_dict().items()
            if not name.startswith(("decoder.", "head."))
        }
        model.load_state_dict(model.state_dict() | encoder)
        return model.to(unet.merger.weight)

    def latent(self, x: Tensor) -> Tensor:
        """
        Mean of each channel of the four blocks, concatenated.

        Parameters
        ----------
        x : Tensor of shape (B, 1, H, W)
            Z-scored patches of any size.

        Returns
        -------
        Tensor of shape (B, 64 + 128 + 256 + 512)
            For ResNet34; the sum of ``channels`` in general.
        """
        return torch.cat([block.mean(dim=(2, 3)) for block in self.features(x)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """
        Logits of the classes.

        Parameters
        ----------
        x : Tensor of shape (B, 1, H, W)
            Z-scored patches of any size.

        Returns
        -------
        Tensor of shape (B, n_classes)
            Before the softmax.
        """
        logits: Tensor = self.head(self.latent(x))
        return logits


def _divide(shape: Sequence[int], reduction: int) -> tuple[int, int]:
    """Height and width at a reduction, rounded up."""
    height, width = shape
    return -(-height // reduction), -(-width // reduction)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw on the CPU from a generator of this seed; global random state and modes do not count."""
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(check_count("seed", seed, low=0))
        yield


def _import_timm() -> Any:
    """Import timm where an encoder is built: it brings all of torchvision, and takes seconds."""
    with warnings.catch_warnings():
        # Of tqdm, in notebooks without widgets: no bar of timm's is ever drawn.
        warnings.filterwarnings("ignore", "IProgress not found")
        import timm
    return timm


def _create_network(name: str, *, pretrained: bool) -> nn.Module:
    timm = _import_timm()
    if not isinstance(name, str) or not timm.is_model(name):
        near = difflib.get_close_matches(str(name), timm.list_models(), n=5)
        hint = f" Near names: {', '.join(near)}." if near else ""
        raise ValueError(f"Invalid encoder {name!r}. Must be one of timm.list_models().{hint}")
    try:
        # The whole network, whatever is used of it: its random weights depend on all that is drawn.
        network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise RuntimeError(
            f"Cannot load the pretrained weights of {name!r}: {error} They are fetched once from "
            "the Hugging Face hub, which needs a network. Use pretrained=False without one."
        ) from error
    return network


def _cut_into_stages(name: str, network: nn.Module) -> tuple[list[nn.Module], list[int]]:
    """Stages at reductions 4 to 32, after the one at 2 where there is one, and their channels."""
    info = list(getattr(network, "feature_info", None) or [])
    numbers = [number for number, stage in enumerate(info) if stage["reduction"] > 1]
    reductions = tuple(info[number]["reduction"] for number in numbers)
    if reductions not in (REDUCTIONS, (2, *REDUCTIONS)):
        raise ValueError(
            f"Invalid encoder {name!r} with stages at reductions "
            f"{', '.join(map(str, reductions)) or 'none'}. Must have four stages at reductions "
            "4, 8, 16, 32, with or without one at 2 before them."
        )
    ends = [info[number]["module"] for number in numbers]
    nested = any("." in end for end in ends)  # "stages.0"
    try:
        modules = _import_timm().models.FeatureListNet(
            network, tuple(numbers), flatten_sequential=nested
        )
    except AssertionError as error:
        raise ValueError(
            f"Invalid encoder {name!r}: its stages {', '.join(ends)} are not modules that run one "
            "after the other. Must be a convolutional network such as resnet34."
        ) from error
    stages: list[nn.Module] = []
    run: list[nn.Module] = []
    for key, module in modules.items():
        run.append(module)
        if key in modules.return_layers:
            stages.append(run[0] if len(run) == 1 else nn.Sequential(*run))
            run = []
    return stages, modules.feature_info.channels()


def _check_blocks(encoder: SaltEncoder) -> None:
    """Refuse encoders whose stages, run one after the other, do not give what timm states."""
    try:
        found, expected = _compare_blocks(encoder, (64, 64))
    except _MISFITS as error:
        raise ValueError(
            f"Invalid encoder {encoder.encoder!r}: its stages cannot be run one after the other on "
            f"a patch of 64x64 ({error}). Must be a convolutional network such as resnet34."
        ) from error
    if found != expected:
        raise ValueError(
            f"Invalid encoder {encoder.encoder!r}: a patch of 64x64 gives blocks {found}. "
            f"Must be (channels, height, width) {expected}."
        )


def _compare_blocks(
    encoder: SaltEncoder, size: tuple[int, int]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of the blocks of an empty patch, and those of sizes that are rounded up."""
    with evaluating(encoder), torch.no_grad():
        maps = encoder._pyramid(encoder.merger.weight.new_zeros(1, 1, *size))[1:]
    expected = zip(encoder.channels, REDUCTIONS, strict=True)
    return [tuple(m.shape[1:]) for m in maps], [(n, *_divide(size, r)) for n, r in expected]
