"""The picture of an incident: the queue before, in and after it."""

from rag_assets.defs.pictures import inline_picture
from rag_assets.operations.report import Report, curves


def incident_picture(report: Report) -> str:
    """Documents waiting, and completed since the sample before, over time; as Markdown."""
    incident = report.incident
    minutes, waiting, completed = curves(report.drawn, incident.began_at)
    if len(minutes) < 2:
        return "No samples of the queue are left from that time."
    # Imported late: half a second that the other runs need not wait for.
    from matplotlib.figure import Figure  # noqa: PLC0415

    noticed = (incident.noticed_at - incident.began_at).total_seconds() / 60
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(minutes, waiting, label="waiting", color="tab:orange")
    axes.step(minutes, completed, label="completed", color="tab:green")
    axes.axvspan(0, report.seconds / 60, alpha=0.12, color="tab:red", label="incident")
    axes.axvline(noticed, linestyle=":", color="tab:red", label="noticed")
    axes.set(xlabel="minutes since it began", ylabel="documents", ylim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper left", fontsize="small")
    return inline_picture(figure, "documents waiting and completed")
