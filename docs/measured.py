"""Pages of the manual that are made from what benchmarks measured: federations and clusters."""

from __future__ import annotations

import json
from pathlib import Path

from docstrings import table

ROOT = Path(__file__).resolve().parent.parent


def federation() -> str:
    """Return what benchmarks/federation.py measured, as tables."""
    held = json.loads((ROOT / "benchmarks" / "results" / "federation.json").read_text(encoding="utf-8"))
    whole = json.loads((ROOT / "benchmarks" / "results" / "federation-cost.json").read_text(encoding="utf-8"))
    cost = whole["cost"]
    entries, rules = held["entries"], ("alone", "together", "secure", "fedavg", "fedrep", "one place")
    alphas = sorted({entry["alpha"] for entry in entries})
    area, accuracy, gains = [], [], []
    for alpha in alphas:
        runs = [entry for entry in entries if entry["alpha"] == alpha]
        for rows, figure in ((area, "mean_ap"), (accuracy, "mean_accuracy")):
            means = [sum(run[figure][rule] for run in runs) / len(runs) for rule in rules]
            rows.append([f"{alpha:g}", *(f"{mean:.3f}" for mean in means)])
        listed = [
            ", ".join(f"{run[name]:{form}}" for run in runs)
            for name, form in (("gain_of_worst_site", "+.3f"), ("least_gain", "+.3f"), ("correct_changed_more", "+.3f"))
        ]
        gains.append([f"{alpha:g}", *listed])
    lies = []
    for alpha in alphas:
        areas = [
            [{lie["how"]: lie["honest_ap"] for lie in entry[way]} for entry in entries if entry["alpha"] == alpha]
            for way in ("lies", "secure_lies")
        ]
        costs = [[one[how] - one["honest"] for one in way] for how in ("scaled", "shuffled") for way in areas]
        lies.append([f"{alpha:g}", *(", ".join(f"{round(cost, 3) + 0.0:+.3f}" for cost in row) for row in costs)])
    size = max(site["sent"] + site["received"] for entry in entries for site in entry["sites"]) / 1e6
    seeds, rules_of = len({entry["seed"] for entry in entries}), reading_rules()
    parts = [
        f"`benchmarks/federation.py`: {held['faces']:,} clear faces of FER2013 dealt to ten sites, sizes 1 to 20, class"
        f" mixes by Dirichlet's alpha, unlike noise; {seeds} seeds; the half of the groups on which no constant was "
        "chosen. `together` is robust joining, `secure` the same sites under secure aggregation. Average precision "
        "with which wrong labels are found, mean over sites:",
        table(["alpha", *rules], area),
        "Accuracy of refined labels:",
        table(["alpha", *rules], accuracy),
        "Gain in average precision of `together` over `alone`, seed by seed: at the site that is worst alone, and at "
        "the site that gains least. And how many more labels change at sites whose labels are all right, as a share:",
        table(["alpha", "worst alone", "gains least", "correct changed"], gains),
        "What a lying site, the third largest, changes in the mean average precision of the others, seed by seed: one "
        "that turns its steps round, a thousand times too long, and boasts of 10 million faces; and one that shuffles "
        "its classes. Under secure aggregation its program shortened what it sent to the longest step of the terms:",
        table(["alpha", "turned round", "turned, secure", "shuffled", "shuffled, secure"], lies),
        "How a site may weigh the shared head against a head of its own, on deals by which the rule was chosen (other "
        f"faces, seeds {rules_of['seeds']}; `benchmarks/federation_reading.py`). Least gains are means and least of "
        "the deals:",
        rules_of["table"],
        f"A site sent and received {size:.1f} MB in {held['rounds']} rounds, "
        f"{cost['sent_and_received'] / 1e6:.1f} MB in {whole['rounds']}. All {cost['faces']:,} training faces at ten "
        f"sites take {cost['rounds']:.1f} seconds of processor time for {whole['rounds']} rounds, and "
        f"{cost['views_and_neighbors']:.0f} + {cost['each_site_alone']:.0f} + "
        f"{cost['each_site_with_the_others']:.1f} for what sites do before (neighbors, each alone) and after.",
    ]
    return "\n\n".join(parts) + "\n"


def reading_rules() -> dict[str, str]:
    """Return what benchmarks/federation_reading.py measured: its seeds, and a table of rules by alpha."""
    held = json.loads((ROOT / "benchmarks" / "results" / "federation-reading.json").read_text(encoding="utf-8"))
    entries, rows = held["entries"], []
    for alpha in sorted({entry["alpha"] for entry in entries}):
        runs = [entry["rules"] for entry in entries if entry["alpha"] == alpha]
        for rule in runs[0]:
            found = {name: [run[rule][name] for run in runs] for name in runs[0][rule]}
            mean = {name: sum(values) / len(values) for name, values in found.items()}
            rows.append(
                [
                    *(f"{alpha:g}", rule, f"{mean['ap']:.3f}", f"{mean['accuracy']:.3f}"),
                    f"{mean['worst_alone']:+.3f}, {min(found['worst_alone']):+.3f}",
                    f"{mean['least']:+.3f}, {min(found['least']):+.3f}",
                    f"{max(found['correct_changed_more']):+.3f}",
                ]
            )
    heads = ["alpha", "rule", "AP", "accuracy", "gain of worst alone", "least gain", "correct changed more"]
    return {"seeds": ", ".join(str(s) for s in sorted({e["seed"] for e in entries})), "table": table(heads, rows)}


def cluster() -> str:
    """Return what benchmarks/cluster.py measured and worked out from that, as tables."""
    held = json.loads((ROOT / "benchmarks" / "results" / "cluster.json").read_text(encoding="utf-8"))
    shards, near, whole, paper = (held[name] for name in ("shards", "neighbors", "refined", "on_paper"))
    columns = (
        *("seconds_one_process", "seconds_by_parts", "seconds_two_nodes_first"),
        *("seconds_two_nodes", "seconds_node_killed"),
    )
    rows = [
        [f"{shards['faces']:,} drawn faces, `{held['encoder']}`, {shards['shards']} shards", shards],
        [f"neighbors of {near['faces']:,} made-up vectors of {near['width']}, {near['parts']} parts", near],
        [f"`consensus` on {whole['faces']:,} made-up faces, two views, {whole['parts']} parts", whole],
    ]
    near["seconds_one_process"] = near["seconds_one_go"]
    cells = [[text, *(f"{one[name]:.1f} s" if name in one else "" for name in columns)] for text, one in rows]
    same = shards["equal"] and all(near["equal"]) and all(whole["equal"])
    kept = [
        [
            f"`{one['method']}`",
            " and ".join(f"{faces:,}" for faces in one["faces"]),
            " and ".join(f"{size / 2**30:.2f} GiB" for size in one["peak_bytes"]),
            f"{one['bytes_a_face']:,.0f}",
        ]
        for one in held["memory"]
    ]
    assumed, stages = paper["assumed"], []
    for one in paper["stages"]:
        stages.append([one["stage"], f"{one['bytes'] / 1e9:,.1f} GB", f"{one['seconds']:,.0f} s"])
    return "\n\n".join(
        [
            "`benchmarks/cluster.py`, two Ray nodes of one core each on one machine of two cores, beside other work: "
            "seconds show what Ray adds, not what a second machine saves.",
            table(
                ["what", "one process", "by parts", "two nodes, first time", "two nodes, again", "one of them killed"],
                cells,
            ),
            f"Answers {'were equal' if same else 'DIFFERED'} in all. When the node was killed "
            f"{shards['shards_done_before_the_kill']} shards were done; {shards['of_these_written_again']} of them "
            f"were written again. With all parts there, `consensus` took {whole['seconds_parts_were_there']:.1f} s.",
            "What a run holds of its own on one machine at its peak, two views of 512 and 256 columns mapped from "
            "files, neighbors in parts (pages of mapped files are not counted):",
            table(["method", "faces", "at the peak", "bytes a face more"], kept),
            f"On paper, {paper['faces'] / 1e6:.0f} million faces on {paper['gpus']} GPUs. Seconds of a core are those "
            f"measured above; a GPU's are assumed ({assumed['faces']:,.0f} faces a second, "
            f"{assumed['operations']:.0e} operations), and so is the store ({assumed['read_bytes'] / 1e9:.0f} GB a "
            "second for all):",
            table(["stage", "bytes", "seconds"], stages),
            "",
        ]
    )
