"""The table: medians, spreads, ratios and goals."""

import statistics

METRICS = {
    # name: (what is printed, format)
    "cpu": ("CPU-s per million", "{:.3f}"),
    "user": ("  user", "{:.3f}"),
    "system": ("  system", "{:.3f}"),
    "cpu_per_gib": ("CPU-s per GiB", "{:.3f}"),
    "against_one": ("  CPU per byte against one reader", "{:.2f}"),
    "rate": ("records/s", "{:,.0f}"),
    "rate_few": ("records/s with the few", "{:,.0f}"),
    "kept": ("kept of it with the many", "{:.2f}"),
    "p50": ("p50 ms", "{:.2f}"),
    "p99": ("p99 ms", "{:.2f}"),
    "rss_peak": ("peak memory MiB", "{:.0f}"),
    "first_ms": ("all join, ms", "{:.1f}"),
    "leave_ms": ("one leaves, ms", "{:.1f}"),
    "join_ms": ("one joins, ms", "{:.1f}"),
    "cpu_s": ("CPU-s of all three", "{:.3f}"),
    "per_cpu_s": ("per CPU-s", "{:,.0f}"),
    "stopped_ms": ("all read, after a stop, ms", "{:.0f}"),
    "killed_ms": ("all read, after SIGKILL, ms", "{:.0f}"),
    "start_cpu_s": ("CPU-s until then", "{:.2f}"),
    "rss": ("memory MiB", "{:.1f}"),
    "p50_one": ("p50 ms with one", "{:.2f}"),
    "p99_one": ("p99 ms with one", "{:.2f}"),
    "p99_against_one": ("p99 against one's", "{:.2f}"),
    "start_ms": ("first answer after ms", "{:.0f}"),
    "rss_idle": ("idle memory MiB", "{:.1f}"),
    "cpu_idle": ("idle CPU %", "{:.2f}"),
    "per_partition": ("KiB per idle partition", "{:.1f}"),
}
TITLES = {
    "millrace": "Millrace",
    "kafka": "Kafka",
    "kafka-flush": "Kafka flush=1",
    "floor-sync": "floor synced",
    "floor": "floor",
}
FIRST = 36
CELL = 17


def medians(values):
    """{column: {metric: [value, ...]}} to {column: {metric: median}}."""
    return {
        column: {metric: statistics.median(found) for metric, found in by_metric.items()}
        for column, by_metric in values.items()
    }


def cell(found, form):
    if not found:
        return "-"
    middle = statistics.median(found)
    text = form.format(middle)
    if len(found) > 1 and middle:
        text += f" ±{(max(found) - min(found)) / 2 / abs(middle) * 100:.0f}%"
    return text


def ratio(own, other):
    if not own or not other:
        return "-"
    return f"{own / other:.2f}"


def goal_text(goal, medians_here):
    """One line about a goal, and whether it is met (None: nothing to compare)."""
    label = METRICS[goal.metric][0].strip()
    verdict = goal.judge(medians_here)
    bound = "at least" if goal.at_least else "at most"
    if goal.against is None:
        what, limit = label, f"{goal.at_most:g}"
    else:
        what, limit = f"{label} / {TITLES[goal.against]}'s", f"{goal.at_most:.3g}"
    if verdict is None:
        return f"goal: {what} {bound} {limit}: not measured", None
    factor, met = verdict
    return f"goal: {what} {bound} {limit}: {factor:.3g}, {'met' if met else 'NOT met'}", met


def table(results, columns):
    """The lines of the table of [(scenario, {column: {metric: [values]}})]."""
    heads = [TITLES[column].rjust(CELL) for column in columns]
    lines = ["".ljust(FIRST) + "".join(heads) + "M/Kafka".rjust(10) + "M/floor s.".rjust(12)]
    met = missed = 0
    for scenario, values in results:
        middle = medians(values)
        lines += ["", f"{scenario.title}  [{scenario.name}]"]
        for metric, (label, form) in METRICS.items():
            if not any(metric in by_metric for by_metric in values.values()):
                continue
            cells = [cell(values.get(column, {}).get(metric), form).rjust(CELL) for column in columns]
            own = middle.get("millrace", {}).get(metric)
            ratios = [ratio(own, middle.get(other, {}).get(metric)) for other in ("kafka", "floor-sync")]
            lines.append(f"  {label}".ljust(FIRST) + "".join(cells) + ratios[0].rjust(10) + ratios[1].rjust(12))
        for goal in scenario.goals:
            text, reached = goal_text(goal, middle)
            met, missed = met + (reached is True), missed + (reached is False)
            lines.append(f"    {text}")
    lines += ["", f"goals: {met} met, {missed} not met"]
    return lines
