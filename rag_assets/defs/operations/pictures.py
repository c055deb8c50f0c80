"""The plot of an incident: the queue before, during and after it."""

from rag_assets.defs.pictures import inline_picture
from rag_assets.operations.report import Report, curves


def incident_picture(report: Report) -> str:
    """Plot waiting documents, and those completed between samples, as Markdown."""
    incident = report.incident
    minutes, waiting, completed = curves(report.drawn, incident.began_at)
    if len(minutes) < 2:
        return "No samples of the queue are left from that time."
    # Lazy import: it takes half a second.
    from matplotlib.figure import Figure  # noqa: PLC0415

    noticed = (incident.noticed_at - incident.began_at).total_seconds() / 60
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(minutes, waiting, color="tab:orange")
    below.step(minutes[1:], completed, color="tab:green")
    for axes, name in ((above, "waiting"), (below, "completed")):
        axes.axvspan(0, report.seconds / 60, alpha=0.12, color="tab:red", label="incident")
        axes.axvline(noticed, linestyle=":", color="tab:red", label="noticed")
        axes.set(ylabel=name, ylim=(0, None))
        axes.grid(visible=True, alpha=0.3)
    below.set(xlabel="minutes since it began")
    figure.legend(*above.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return inline_picture(figure, "documents waiting and completed")
