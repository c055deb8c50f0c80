"""Metadata of an index asset."""

from collections.abc import Mapping, Sequence

import dagster as dg

from rag_assets.defs.pictures import inline_picture
from rag_assets.index.coding import Coded
from rag_assets.index.maintain import IndexOutcome
from rag_assets.index.measuring import Point
from rag_assets.index.policy import IndexAction


def of_index(outcomes: Sequence[IndexOutcome]) -> dict[str, dg.MetadataValue]:
    """Metadata of one materialization: the table for the next release, then one row per table."""
    if not outcomes:
        nothing = "nothing is embedded with the settings' model"
        return {
            "decision": dg.MetadataValue.text("none"),
            "reasons": dg.MetadataValue.md(f"- {nothing}"),
            "dagster/row_count": dg.MetadataValue.int(0),
        }
    outcome = outcomes[0]
    generation = outcome.generation
    shown: dict[str, dg.MetadataValue] = {
        "decision": dg.MetadataValue.text(outcome.decision.action.value),
        "reasons": dg.MetadataValue.md("\n".join(f"- {r}" for r in outcome.decision.reasons)),
        "dagster/row_count": dg.MetadataValue.int(outcome.rows),
        "space": dg.MetadataValue.text(str(outcome.table.space.spec)),
        "tables": dg.MetadataValue.md(_tables(outcomes)),
        "invalid_leftovers_dropped": dg.MetadataValue.text(", ".join(outcome.leftovers) or "none"),
        "generations_dropped": dg.MetadataValue.text(
            ", ".join(map(str, outcome.dropped)) or "none"
        ),
    }
    if generation is not None:
        shown |= {
            "generation": dg.MetadataValue.int(generation.number),
            "lists": dg.MetadataValue.int(generation.lists),
            "precision": dg.MetadataValue.text(generation.precision),
            "index_mb": dg.MetadataValue.float(round(generation.index_bytes / 1e6, 1)),
            "build_seconds": dg.MetadataValue.float(round(generation.build_seconds, 1)),
        }
    if generation is not None and generation.probes is not None:
        shown |= {
            "probes": dg.MetadataValue.int(generation.probes.plain),
            "filtered_probes": dg.MetadataValue.int(generation.probes.filtered),
            "max_probes": dg.MetadataValue.int(generation.probes.limit),
        }
    if outcome.codes is not None:
        shown |= {
            "code_set": dg.MetadataValue.int(outcome.codes.code_set.number),
            "code_bits": dg.MetadataValue.int(outcome.codes.code_set.recipe.bits),
            "candidates": dg.MetadataValue.int(outcome.codes.use.candidates),
            "filtered_candidates": dg.MetadataValue.int(outcome.codes.use.filtered),
            "one_scope_candidates": dg.MetadataValue.int(outcome.codes.use.one_scope),
            "scan_recall_at_10": dg.MetadataValue.float(round(outcome.codes.recall, 4)),
        }
        if outcome.decision.action is IndexAction.CODES:
            shown["recall_by_candidates"] = dg.MetadataValue.md(_candidates_picture(outcome.codes))
    if generation is not None and generation.probes is not None and outcome.curves:
        shown["recall_and_latency"] = dg.MetadataValue.md(
            curve_picture(outcome.curves, generation.probes.plain)
        )
        shown["tuning"] = dg.MetadataValue.md(_tuning_table(outcome.curves))
    return shown


def curve_picture(curves: Mapping[str, Sequence[Point]], chosen: int) -> str:
    """Plot recall and P95 over probes, as an inline picture in Markdown.

    :param chosen: the probes without a filter.
    """
    # Lazy import: it takes half a second.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4), layout="constrained")
    recall, latency = figure.subplots(1, 2)
    for case, curve in curves.items():
        probes = [point.probes for point in curve]
        recall.plot(probes, [point.recall for point in curve], marker="o", label=case)
        latency.plot(probes, [point.p95_ms for point in curve], marker="o", label=case)
    for axes, name in ((recall, "recall@10"), (latency, "P95, ms")):
        axes.axvline(chosen, linestyle="--", color="grey")
        axes.set(xlabel="probes", ylabel=name, xscale="log")
        axes.grid(visible=True, alpha=0.3)
    recall.legend(loc="lower right", fontsize="small")
    return inline_picture(figure, "recall and latency over probes")


def _candidates_picture(codes: Coded) -> str:
    """Plot a scan's recall over the number of codes whose vectors are compared."""
    # Lazy import: it takes half a second.
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    curves: Mapping[str, Mapping[str, float]] = codes.record["curves"]  # type: ignore[assignment]
    for case, curve in curves.items():
        axes.plot([int(number) for number in curve], list(curve.values()), marker="o", label=case)
    axes.axvline(codes.use.candidates, linestyle="--", color="grey")
    axes.set(xlabel="candidates", ylabel="recall@10", xscale="log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", fontsize="small")
    return inline_picture(figure, "recall over candidates")


def _tables(outcomes: Sequence[IndexOutcome]) -> str:
    lines = ["| table | rows | decision | generation | lists |", "|---|---:|---|---:|---:|"]
    for outcome in outcomes:
        made = outcome.generation
        lines.append(
            f"| {outcome.table} | {outcome.rows} | {outcome.decision.action.value} "
            f"| {made.number if made else '–'} | {made.lists if made else '–'} |"
        )
    return "\n".join(lines)


def _tuning_table(curves: Mapping[str, Sequence[Point]]) -> str:
    lines = [
        "| searched | probes | candidates | recall@10 | hits | P50 ms | P95 ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {case} | {point.probes} | {point.candidates} | {point.recall:.3f} "
        f"| {point.k_returned:.1f} | {point.p50_ms:.1f} | {point.p95_ms:.1f} |"
        for case, point in _points(curves)
    ]
    return "\n".join(lines)


def _points(curves: Mapping[str, Sequence[Point]]) -> list[tuple[str, Point]]:
    return [(case, point) for case, curve in curves.items() for point in curve]
