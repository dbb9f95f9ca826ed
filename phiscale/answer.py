"""The answer of a study in five lines: the constants, what they are for, how sure, against the paper, what next.

Terminal, report and dashboard begin with them. Everything comes from the record, so a record is enough to print them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial

from phiscale.cost import COUNTED
from phiscale.errors import PhiscaleError
from phiscale.factory import multiplier_family
from phiscale.family import suited_rounding
from phiscale.leads import against_paper, confirmation
from phiscale.matching import match_budget
from phiscale.network import ScaledNetwork
from phiscale.next_step import UNSURE, next_step, region_part
from phiscale.published import PUBLISHED_RULES
from phiscale.record import Length, SearchRecord
from phiscale.score_text import record_spread, score_text
from phiscale.spec import NetworkSpec
from phiscale.text import capital
from phiscale.training_length import is_measured, longest_rung, training
from phiscale.triangle import constants_from_shares

LETTERS = ("alpha", "beta", "gamma")
_FAIRLY = 0.25
"""Up to this part of all constants that could be the best, the answer is called fairly sure."""


@dataclass(frozen=True)
class Line:
    """One of the five lines."""

    key: str
    """``constants``, ``for``, ``sure``, ``paper`` or ``next``."""
    label: str
    headline: str
    more: str = ""
    """A second sentence."""
    command: str | None = None
    """A command within the headline."""

    @property
    def text(self) -> str:
        """The whole line."""
        return f"{self.headline}. {self.more}" if self.more else self.headline

    @property
    def parts(self) -> tuple[str, str, str]:
        """The headline before the command, the command, and the rest of the headline."""
        return self.headline.partition(self.command) if self.command else (self.headline, "", "")


def answer(record: SearchRecord, results: str | None = None) -> list[Line]:
    """The five lines. ``results`` is the folder of all studies, if that is not ``results``."""
    step = next_step(record, results)
    return [
        Line("constants", "Constants", *_constants(record)),
        Line("for", "Made for", _made_for(record), _example(record)),
        Line("sure", "How sure", *_how_sure(record)),
        Line("paper", "Against the paper", *_against_paper(record)),
        Line("next", "Next", capital(step.text), command=step.command),
    ]


def as_text(lines: list[Line]) -> list[str]:
    """The lines for a terminal, their labels under each other."""
    width = max(len(line.label) for line in lines)
    return [f"{line.label:<{width}}  {line.text}" for line in lines]


def ranges(record: SearchRecord) -> list[tuple[float, float]] | None:
    """Lowest and highest alpha, beta and gamma among the constants that could be the best; None without a region."""
    if not record.region:
        return None
    possible = [constants_from_shares(shares, record.cost_model).as_tuple() for shares in record.region]
    values = zip(record.constants.as_tuple(), *possible, strict=True)
    return [(min(each), max(each)) for each in values]


def _constants(record: SearchRecord) -> tuple[str, str]:
    values, ends = record.constants.as_tuple(), ranges(record)
    if ends is None:
        return ", ".join(f"{name} {value:.2f}" for name, value in zip(LETTERS, values, strict=True)), ""
    known = zip(LETTERS, values, ends, strict=True)
    parts = [f"{name} {value:.2f} ({low:.2f} to {high:.2f} possible)" for name, value, (low, high) in known]
    return ", ".join(parts), "Each growth step multiplies by them; the best lie in these ranges with 90 % probability"


def _made_for(record: SearchRecord) -> str:
    growth = _growth(record)
    name = record.network.name if record.network else "the baseline"
    label = COUNTED[record.cost_model.shown].label
    steps = f" ({record.phi:g} growth step{'s' if record.phi != 1 else ''})"
    cost = f"networks of {growth:.3g} times the {label} of {name}{steps}" if growth else f"the {label} of {name}"
    return f"{capital(training(record))}; {cost}"


def _growth(record: SearchRecord) -> float | None:
    with contextlib.suppress(PhiscaleError):
        return record.cost_model.target_growth(record.phi)
    return None


def _example(record: SearchRecord) -> str:
    """The network of these constants at the searched cost, next to the baseline; empty if there is none."""
    base, network = record.network, example_network(record)
    if base is None or network is None:
        return _factory_example(record)
    return (
        f"For example {network.spec.total_repeats} blocks (baseline {base.total_repeats}), "
        f"channels from {_channels(network.spec)} (baseline {_channels(base)}), "
        f"{network.resolution} pixels a side (baseline {base.resolution})"
    )


def _factory_example(record: SearchRecord) -> str:
    """The sizes with which a user's own factory makes it, as the search counted them; empty without a factory."""
    with contextlib.suppress(PhiscaleError):
        (row,) = multiplier_family(record, [record.phi], budget="matched")
        sizes = f"{row['depth']:.2f} times the depth, {row['width']:.2f} times the width"
        return f"For example {sizes}, {row['resolution']} pixels a side"
    return ""


def example_network(record: SearchRecord) -> ScaledNetwork | None:
    """The network of these constants at the searched cost; None if it has no spec, or if none is near enough."""
    base = record.network
    if base is None:
        return None
    with contextlib.suppress(PhiscaleError):
        rounding, model = suited_rounding(base), record.cost_model
        return match_budget(base, record.constants, phi=record.phi, cost_model=model, rounding=rounding)
    return None


def _channels(spec: NetworkSpec) -> str:
    """Channels of the first and the last stage."""
    ends = list(dict.fromkeys((spec.stages[0].channels, spec.stages[-1].channels)))
    return " to ".join(map(str, ends))


def _how_sure(record: SearchRecord) -> tuple[str, str]:
    confirmed = _confirmed(record)
    part = region_part(record)
    could = "" if part is None else f"the best are among {100 * part:.0f} % of all constants (90 % probability)"
    if confirmed:
        return confirmed, ". ".join(filter(None, (capital(could), _expected(record, "measured there"))))
    undetermined = record.horizon_length if record.horizon and not record.horizon.determined else None
    if undetermined and record.horizon:
        reason = record.horizon.reason or "no reason is given"
        return f"Not determined at {undetermined.describe()}: {reason}", _expected(record, "not confirmed")
    if part is None or record.expected is None:
        return f"Not sure: {record.notes[0] if record.notes else 'the record does not say what else could be best'}", ""
    start = "Not sure" if part > UNSURE else "Not sure yet" if part > _FAIRLY else "Fairly sure"
    return f"{start}: {could}", _expected(record, "not confirmed")


def _confirmed(record: SearchRecord) -> str | None:
    """What a confirmation says of the search's answer; None where there was none."""
    if not confirmation(record):
        return None
    lead = against_paper(record)
    if lead is None or not lead.confirmed:
        return f"Trained again on images that the search never saw: {confirmation(record)['verdict']}"
    found = {"ahead": "Confirmed: better than", "behind": "Refuted: not as good as"}
    return f"{found.get(lead.result, 'Not shown to be better than')} {lead.name}, on images that the search never saw"


def _expected(record: SearchRecord, source: str) -> str:
    """The expected score; ``source`` says whether it was measured. Empty if a confirmation measured none."""
    if record.expected is None or (confirmation(record) and not is_confirmed(record)):
        return ""
    of, e = partial(score_text, spread=record_spread(record)), record.expected
    return f"{capital(record.score_name)} {of(e.score)} (90 % interval {of(e.low)} to {of(e.high)}), {source}"


def is_confirmed(record: SearchRecord) -> bool:
    """Whether the expected score is that of a confirmation; if not, it is the search's."""
    return isinstance(confirmation(record).get("expected"), dict)


def _against_paper(record: SearchRecord) -> tuple[str, str]:
    lead = against_paper(record)
    if lead is None:
        return "Not compared: no published rule was measured", ""
    if lead.confirmed:
        where = f", measured with fresh seeds{_confirmed_length(record)}"
    elif is_measured(record) or not longest_rung(record):
        where = ", not confirmed"
    else:
        where = f", predicted from scores of {longest_rung(record):,} images seen"
    rule = PUBLISHED_RULES.get(lead.rule)
    theirs = f"; {lead.name}: {', '.join(f'{value:.3g}' for value in rule.constants.as_tuple())}" if rule else ""
    return capital(lead.verdict), f"Lead in {record.score_name} {lead.size}{where}{theirs}" if lead.size else ""


def _confirmed_length(record: SearchRecord) -> str:
    """Of the confirmation's trainings, where it is not that of the constants."""
    found = confirmation(record).get("length")
    with contextlib.suppress(PhiscaleError, TypeError):
        length = Length(**found) if isinstance(found, dict) else None
        if length and record.length and length.images != record.length.images:
            return f" after {length.describe()}"
    return ""
