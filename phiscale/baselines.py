"""Baseline networks that come with phiscale."""

from __future__ import annotations

from phiscale.spec import NetworkSpec, StageSpec


def _stage(kernel: int, repeats: int, channels: int, expansion: int, stride: int, se_ratio: float = 0.25) -> StageSpec:
    return StageSpec(
        kernel=kernel, repeats=repeats, channels=channels, expansion=expansion, stride=stride, se_ratio=se_ratio
    )


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

BASELINES = {spec.name: spec for spec in (EFFICIENTNET_B0, PROXY_BASE)}
"""Every baseline by name."""
