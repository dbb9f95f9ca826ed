"""Scaling constants as data: the cost surface, scaling, counted cost, families and records. Standard library only."""

from phiscale.baselines import (
    BASELINES,
    CONVNEXT_T,
    EFFICIENTNET_B0,
    EFFICIENTNETV2_B0,
    EFFICIENTNETV2_S,
    MOBILENETV2,
    PROXY_BASE,
    RESNET_18,
    RESNET_50,
)
from phiscale.cost import Cost, count_cost
from phiscale.errors import (
    BudgetError,
    ConstraintError,
    DataError,
    FileError,
    PhiscaleError,
    RecordError,
    SettingsError,
    SpecError,
    StudyError,
    TrialError,
)
from phiscale.family import FamilyMember, format_family, generate_family, parse_phis, published_family
from phiscale.matching import match_budget
from phiscale.network import ScaledNetwork, scale_network
from phiscale.published import EFFICIENTNET_TABLE, PUBLISHED_RULES, PublishedMember, PublishedRule
from phiscale.record import Estimate, Horizon, Length, Observed, SearchRecord
from phiscale.rounding import ROUNDINGS, Rounding
from phiscale.scaling import efficientnet_scaling, multipliers
from phiscale.spec import NetworkSpec, StageSpec, load_network
from phiscale.triangle import (
    ACTIVATIONS,
    FLOPS,
    PARAMETERS,
    CostModel,
    Multipliers,
    ScalingConstants,
    Shares,
    check_on_surface,
    constants_from_shares,
    shares_from_constants,
    shares_of_direction,
)

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "BASELINES",
    "CONVNEXT_T",
    "EFFICIENTNETV2_B0",
    "EFFICIENTNETV2_S",
    "EFFICIENTNET_B0",
    "EFFICIENTNET_TABLE",
    "FLOPS",
    "MOBILENETV2",
    "PARAMETERS",
    "PROXY_BASE",
    "PUBLISHED_RULES",
    "RESNET_18",
    "RESNET_50",
    "ROUNDINGS",
    "BudgetError",
    "ConstraintError",
    "Cost",
    "CostModel",
    "DataError",
    "Estimate",
    "FamilyMember",
    "FileError",
    "Horizon",
    "Length",
    "Multipliers",
    "NetworkSpec",
    "Observed",
    "PhiscaleError",
    "PublishedMember",
    "PublishedRule",
    "RecordError",
    "Rounding",
    "ScaledNetwork",
    "ScalingConstants",
    "SearchRecord",
    "SettingsError",
    "Shares",
    "SpecError",
    "StageSpec",
    "StudyError",
    "TrialError",
    "check_on_surface",
    "constants_from_shares",
    "count_cost",
    "efficientnet_scaling",
    "format_family",
    "generate_family",
    "load_network",
    "match_budget",
    "multipliers",
    "parse_phis",
    "published_family",
    "scale_network",
    "shares_from_constants",
    "shares_of_direction",
]
