"""Baseline networks that come with phiscale; parameters and multiply-accumulates are those of torchvision and timm."""

from __future__ import annotations

import dataclasses

from phiscale.spec import NetworkSpec, StageSpec, load_network


def _stage(kernel: int, repeats: int, channels: int, expansion: int, stride: int, se_ratio: float = 0.25) -> StageSpec:
    return StageSpec(
        kernel=kernel, repeats=repeats, channels=channels, expansion=expansion, stride=stride, se_ratio=se_ratio
    )


def _fused(repeats: int, channels: int, expansion: int, stride: int) -> StageSpec:
    return dataclasses.replace(_stage(3, repeats, channels, expansion, stride, 0.0), block="fused")


def _resnet(block: str, repeats: int, channels: int, stride: int) -> StageSpec:
    return dataclasses.replace(
        _stage(3, repeats, channels, 4 if block == "bottleneck" else 1, stride, 0.0), block=block
    )


def _convnext(repeats: int, channels: int, stride: int) -> StageSpec:
    return dataclasses.replace(_stage(7, repeats, channels, 4, stride, 0.0), block="convnext", layer_scale=1e-6)


EFFICIENTNET_B0 = NetworkSpec(
    name="efficientnet-b0",
    resolution=224,
    stem_channels=32,
    stages=(
        _stage(3, 1, 16, 1, 1),
        _stage(3, 2, 24, 6, 2),
        _stage(5, 2, 40, 6, 2),
        _stage(3, 3, 80, 6, 2),
        _stage(5, 3, 112, 6, 1),
        _stage(5, 4, 192, 6, 2),
        _stage(3, 1, 320, 6, 1),
    ),
    head_channels=1280,
)
"""EfficientNet-B0: 5,288,548 parameters. Source: Tan & Le 2019, table 1."""

EFFICIENTNETV2_B0 = NetworkSpec(
    name="efficientnetv2-b0",
    resolution=192,
    stem_channels=32,
    stages=(
        _fused(1, 16, 1, 1),
        _fused(2, 32, 4, 2),
        _fused(2, 48, 4, 2),
        _stage(3, 3, 96, 4, 2),
        _stage(3, 5, 112, 6, 1),
        _stage(3, 8, 192, 6, 2),
    ),
    head_channels=1280,
)
"""EfficientNetV2-B0 at its training resolution. Source: google/automl ``effnetv2_configs.py``, ``v2_base_block``."""

EFFICIENTNETV2_S = NetworkSpec(
    name="efficientnetv2-s",
    resolution=300,
    stem_channels=24,
    stages=(
        _fused(2, 24, 1, 1),
        _fused(4, 48, 4, 2),
        _fused(4, 64, 4, 2),
        _stage(3, 6, 128, 4, 2),
        _stage(3, 9, 160, 6, 1),
        _stage(3, 15, 256, 6, 2),
    ),
    head_channels=1280,
)
"""EfficientNetV2-S at its training resolution. Source: Tan & Le 2021 (arXiv 2104.00298), table 4."""

MOBILENETV2 = NetworkSpec(
    name="mobilenetv2",
    resolution=224,
    stem_channels=32,
    stages=(
        _stage(3, 1, 16, 1, 1, 0.0),
        _stage(3, 2, 24, 6, 2, 0.0),
        _stage(3, 3, 32, 6, 2, 0.0),
        _stage(3, 4, 64, 6, 2, 0.0),
        _stage(3, 3, 96, 6, 1, 0.0),
        _stage(3, 3, 160, 6, 2, 0.0),
        _stage(3, 1, 320, 6, 1, 0.0),
    ),
    head_channels=1280,
    activation="relu6",
    drop_path=0.0,
)
"""MobileNetV2. Source: Sandler et al. 2018 (arXiv 1801.04381), table 2."""


def _resnet_network(name: str, block: str, repeats: tuple[int, ...], expansion: int) -> NetworkSpec:
    widths = (64, 128, 256, 512)
    return NetworkSpec(
        name=name,
        resolution=224,
        stem_channels=64,
        stages=tuple(
            _resnet(block, count, width * expansion, 1 if width == 64 else 2)
            for count, width in zip(repeats, widths, strict=True)
        ),
        head_channels=0,
        stem="conv-pool",
        stem_kernel=7,
        activation="relu",
        dropout=0.0,
        drop_path=0.0,
    )


RESNET_18 = _resnet_network("resnet-18", "basic", (2, 2, 2, 2), 1)
"""ResNet-18. Source: He et al. 2015 (arXiv 1512.03385), table 1, with 1x1 convolutions in the shortcuts (option B)."""
RESNET_50 = _resnet_network("resnet-50", "bottleneck", (3, 4, 6, 3), 4)
"""ResNet-50, the stride in the 3x3 convolution as in torchvision and timm. Source: He et al. 2015, table 1."""

CONVNEXT_T = NetworkSpec(
    name="convnext-t",
    resolution=224,
    stem_channels=96,
    stages=(_convnext(3, 96, 1), _convnext(3, 192, 2), _convnext(9, 384, 2), _convnext(3, 768, 2)),
    head_channels=0,
    stem="patch",
    stem_kernel=4,
    stem_stride=4,
    head_norm=True,
    activation="gelu",
    dropout=0.0,
    drop_path=0.1,
)
"""ConvNeXt-T. Source: Liu et al. 2022 (arXiv 2201.03545), section 3 and appendix A."""

PROXY_BASE = NetworkSpec(
    name="proxy-base",
    resolution=24,
    stem_channels=12,
    stages=(
        _stage(3, 1, 12, 2, 1, se_ratio=0.0),
        _stage(3, 2, 16, 3, 2, se_ratio=0.0),
        _stage(3, 2, 24, 3, 2, se_ratio=0.0),
    ),
    head_channels=64,
    classes=10,
    activation="relu",
    dropout=0.0,
    drop_path=0.0,
)
"""A network of about 0.4 million multiply-accumulates that one CPU core trains in seconds."""

_ALL = (
    EFFICIENTNET_B0,
    EFFICIENTNETV2_B0,
    EFFICIENTNETV2_S,
    MOBILENETV2,
    RESNET_18,
    RESNET_50,
    CONVNEXT_T,
    PROXY_BASE,
)
BASELINES = {spec.name: spec for spec in _ALL}
"""Every baseline by name."""


def find_network(name: str) -> NetworkSpec:
    """The baseline of that name, or the one in that JSON file. Raises ``SpecError`` with the reason."""
    return BASELINES[name] if name in BASELINES else load_network(name)
