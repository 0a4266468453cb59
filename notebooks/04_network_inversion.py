# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How much of a patch survives inside the network?
#
# **In short.** From the output of each block of the encoder the patch was computed back, until the
# network could hardly tell the two apart (residual below {glue:text}`tolerance`;
# {glue:text}`share_converged` of the inversions got there). Where it did, the image that comes back
# from the segmentation encoder is modified by {glue:text}`segmentation_first` after the first block and by
# {glue:text}`segmentation_last` after the last (zero: unchanged, one: nothing in common), that of
# the classifier from scratch by {glue:text}`classification_first` and
# {glue:text}`classification_last`, and that of a network without training by
# {glue:text}`untrained_first` and {glue:text}`untrained_last`. Of the thesis' claims about this
# {glue:text}`n_reproduced` are reproduced here, {glue:text}`n_refuted` are not, and
# {glue:text}`n_open` stay open: {numref}`tab-ni-claims`.

# %% tags=["parameters"]
classifier_study: str = (
    "results/smoke/03_activation_maximization/study.json"  # of chapter 3
)
n_patches: int = 2  # unseen patches that are inverted, half of them salt
ni_seeds: list[int] = [0, 1]  # starts of each inversion
steps: int = 16  # of L-BFGS, at most
tolerance: float = 0.01  # residual at which an inversion is done
fixed_steps: int = 12  # of Adam, for the warning
adam_lr: float = 0.05  # its learning rate, in standard deviations
precision: str = "32-true"  # bf16 converges worse
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/04_network_inversion"  # where results go

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from myst_nb import glue

from thesis_lib import chapters, plotting, study, xai

results = chapters.open_results("04_network_inversion", globals())
root = chapters.project_root() / runs_dir
titles = {
    "segmentation": "(a) segmentation encoder",
    "classification": "(b) classifier from scratch",
    "untrained": "untrained network",
}

# %% [markdown]
# ## The idea
#
# Let $A(x)$ be what a block of a network makes of an image $x$. *Network inversion* looks for an
# image $x^*$ that the block cannot tell from a given patch $x_0$ {cite}`mahendran2015understanding`:
#
# $$
# x^* = \arg\min_x \frac{\lVert A(x) - A(x_0) \rVert^2}{\lVert A(x_0) \rVert^2}
# + \lambda_\alpha \frac{\sum |x|^6}{\sum |x_0|^6}
# + \lambda_\beta \frac{\sum |\nabla x|^2}{\sum |\nabla x_0|^2}.
# $$
#
# (In eq. 4 of the thesis the regulariser stands with the opposite sign, which would reward noise.)
# The first term is the *residual*. The two others hold back what the block does not see at all; they
# are so small that they hardly move the residual, and measured in units of the patch, because
# weights that suit photographs are off by orders of magnitude for seismic amplitudes. What differs
# between $x^*$ and $x_0$ at a small residual is what the block has thrown away, or holds so weakly
# that the residual does not show it: the square root of the residual is how far the features are
# apart, as a share of their length.
#
# The problem has local minima: the noise of the start decides which pixel wins a max pool, and the
# rest of the search follows. L-BFGS is therefore led in by some steps in which max pools take means
# and low frequencies go first; the features to be met are those of the unchanged network
# throughout. An image that differs from the patch shows what a block can do without; one that agrees
# is weaker evidence, since the search may have put in what the block does not hold.
#
# If a network only turns the image without losing anything, the patch itself has to come back. An
# orthogonal matrix is such a network:

# %%
generator = torch.Generator().manual_seed(0)
turn = torch.nn.Linear(144, 144, bias=False)
turn.weight.data = torch.linalg.qr(torch.randn(144, 144, generator=generator)).Q
turning = torch.nn.Sequential(torch.nn.Flatten(), turn)
patch = torch.randn(1, 1, 12, 12, generator=generator)
back = xai.invert(
    turning,
    "1",
    patch,
    seeds=[0],
    tolerance=1e-6,
    norm_weight=0.0,
    variation_weight=0.0,
    progress=False,
)
assert torch.allclose(back.images, patch, atol=0.02)

# %% [markdown]
# ## What is inverted
#
# The three networks of {doc}`the last chapter <03_activation_maximization>`: the segmentation encoder
# (a), the classifier from scratch (b) and the control without training; of each seed. The patches
# come from unseen volumes, half of them salt, and are the same for all networks.
#
# The four blocks are inverted one by one. The latent representation of the thesis puts all four side
# by side and thus contains the first, from which almost everything comes back, whatever the network.

# %%
classifiers = study.read_classifier_study(
    chapters.project_root() / classifier_study
)
explained, seeds = classifiers.loss_study, classifiers.seeds
networks = study.run_classifiers(classifiers, root=root, progress=False)
patches = study.pick_patches(classifiers, n_patches=n_patches)
segmenters = {
    seed: study.find_segmenter(classifiers, seed=seed, root=root)
    for seed in seeds
}

# %% [markdown]
# All blocks of all networks, by L-BFGS and until the residual is below the tolerance:

# %%
inversion = study.InversionConfig(
    ni_seeds=tuple(ni_seeds),
    steps=steps,
    tolerance=tolerance,
    precision=precision,
)

# %% tags=["nbval-ignore-output"]
inverted = {
    (run.route, run.seed): study.invert_blocks(
        run,
        inversion,
        patches=patches,
        segmenter=segmenters[run.seed],
        root=root,
    )
    for run in networks
}

# %% [markdown]
# ## What comes back
#
# {numref}`fig-inversions` is Figure 4 of the thesis, for all three networks. It may be read only where
# the residual is below the tolerance: an image that is framed in red did not get there, and shows
# the optimiser as well as the network.

# %%
shown = len(patches.labels) - 1  # the last patch: salt
first = {route: inverted[route, seeds[0]] for route in titles}
row = shown * len(ni_seeds)
facts_of = pd.concat(
    made.table.query("patch == @shown and ni_seed == @ni_seeds[0]").assign(
        route=titles[route]
    )
    for route, made in first.items()
)

# %% [markdown]
# One patch, one start:

# %% tags=["training"] mystnb={"figure": {"name": "fig-inversions", "caption": "Figure 4 of the thesis: a patch of salt, and what comes back from each block of each network, first seed. Below each image its residual and by how much it is modified (1 - SSIM)."}, "image": {"alt": "For each of the three networks a row of grey images: the input, then its inversion from block 1 to block 4; some may be framed in red because they did not converge."}}
fig = plotting.plot_inversions(
    patches.tensors()[shown, 0].numpy(),
    {
        titles[route]: {
            block: images[row, 0].numpy()
            for block, images in made.images.items()
        }
        for route, made in first.items()
    },
    facts_of,
)
# %% [markdown]
# ## Measured against depth
#
# One picture is an anecdote. {numref}`fig-depth` has the means over all patches, with 95 % intervals
# over patches and seeds, of inversions that converged. (The claims below take a network as one value.)
#
# - *Modification*: 1 - SSIM, the structural similarity with the input {cite}`wang2004image`.
# - *Correlation* with the input, and *spectral distance* to it.
# - *F1 of the salt boundary*: does the segmenter find the same boundary in both?
# - *Label kept*: does the network itself give both the same class?
# - *Correlation of restarts*: how much the images from different starts have in common. What differs
#   between them is what the block does not hold.

# %% tags=["training"] mystnb={"figure": {"name": "fig-depth", "caption": "Measures of the inversions against the depth of the block, with 95 % intervals over patches and seeds. Inversions that did not converge are left out; a cross stands where fewer than half of a network's did, and none is counted."}, "image": {"alt": "Six diagrams, one a measure, each with a line for each network over blocks 1 to 4, and crosses at the bottom where a network has no value."}}
depth = study.summarise_depth(inverted.values())
depth.to_csv(results / "depth.csv", index=False)
measures = [
    "modification",
    "correlation",
    "spectral_distance_db",
    "boundary_f1",
    "label_kept",
    "restart_correlation",
]
fig = plotting.plot_depth_curves(depth.replace({"route": titles}), measures)
# %% [markdown]
# How far each block got, and with how many passes through the network:

# %%
every = pd.concat(
    made.table.assign(route=titles[route], seed=seed)
    for (route, seed), made in inverted.items()
)
every.to_csv(results / "inversions.csv", index=False)
groups = every.groupby(["route", "block"], sort=False)
reached = pd.DataFrame(
    {
        "Share converged": groups["converged"].mean().round(2),
        "Residual": groups["residual"].median().round(4),
        "Passes": groups["evaluations"].mean().round(1),
    }
)
reached.to_csv(results / "reached.csv", index_label=["Network", "Block"])

# %% [markdown]
# ```{csv-table} Share of inversions that converged, median residual and mean number of passes through the network.
# :file: ../results/04_network_inversion/reached.csv
# :header-rows: 1
# :name: tab-reached
# ```
#
# ## A warning: the same at a fixed number of steps
#
# It is common to give every block the same number of gradient steps. How near such a descent has come
# to its end by then differs from block to block and from network to network: the picture shows the
# optimiser as well as the network. {numref}`fig-residuals` compares L-BFGS with Adam on the
# segmentation encoder, and {numref}`tab-warning` has what one would read off Adam's images if one took
# them for what the blocks keep. Where its rows differ from those that converged, so would the
# conclusions.

# %%
fixed = replace(
    inversion,
    optimizer="adam",
    lr=adam_lr,
    steps=fixed_steps,
    ni_seeds=tuple(ni_seeds[:1]),
)

# %% [markdown]
# The networks of the first seed are enough to warn:

# %% tags=["nbval-ignore-output"]
stopped = {
    run.route: study.invert_blocks(
        run,
        fixed,
        patches=patches,
        segmenter=segmenters[run.seed],
        root=root,
    )
    for run in networks
    if run.seed == seeds[0]
}

# %% [markdown]
# What was left at each step:

# %% tags=["training"] mystnb={"figure": {"name": "fig-residuals", "caption": "Residual against the step for each block of the segmentation encoder, by L-BFGS and by Adam, first seed; dashed: the tolerance, dotted: the fixed number of steps. Thin lines are inversions, thick ones their medians."}, "image": {"alt": "Four diagrams, one a block, with falling curves of the residual on a logarithmic axis, for L-BFGS and for Adam, a dashed line across at the tolerance and a dotted one upright at the fixed number of steps."}}
fig = plotting.plot_residuals(
    {
        block: {
            "L-BFGS": first["segmentation"].histories[block].numpy(),
            "Adam": stopped["segmentation"].histories[block].numpy(),
        }
        for block in inversion.blocks
    },
    tolerance=tolerance,
    fixed_step=fixed_steps,
)

# %% [markdown]
# And how much the images would seem to be modified:

# %%
both = {"converged": first, f"Adam, {fixed_steps} steps": stopped}
warning = {
    (name, titles[route]): study.summarise_depth(
        [made], converged_only=name == "converged"
    ).set_index("block")["modification"]
    for name, runs in both.items()
    for route, made in runs.items()
}
warning = pd.DataFrame(warning).T.round(3)
warning.index.names = ["Stopped", "Network"]
warning.reset_index().to_csv(results / "warning.csv", index=False)

# %% [markdown]
# ```{csv-table} Modification (1 - SSIM) by block as it is at equal residual, and as it would be read off after a fixed number of steps of Adam; first seed.
# :file: ../results/04_network_inversion/warning.csv
# :header-rows: 1
# :name: tab-warning
# ```
#
# ## The claims
#
# Measure, direction and margin were fixed before the first full run, and no result changes them;
# {doc}`../notation` states the rule. A network is one observation: its patches and starts are averaged
# first. With fewer than three seeds every claim stays inconclusive.

# %%
ni_scores = study.tabulate_inversion(inverted.values())
ni_scores.to_csv(results / "scores.csv", index=False)
claims = study.read_claims(study.REFERENCE / "claims.yml", task="inversion")
decisions = [study.decide(claim, ni_scores) for claim in claims]
study.write_json(results / "claims.json", study.list_claims(decisions))
study.format_claims(decisions).to_csv(results / "claims.csv", index=False)

# %% [markdown]
# ```{csv-table} The thesis' claims about network inversion, tested on the data of this page.
# :file: ../results/04_network_inversion/claims.csv
# :header-rows: 1
# :name: tab-ni-claims
# ```

# %% tags=["training"] mystnb={"figure": {"name": "fig-ni-effects", "caption": "Effect of every claim: mean over seeds with its one-sided 95 % bounds. Right of zero speaks for the claim."}, "image": {"alt": "Forest plot with a panel per claim: dots for the means and bars for their bounds, around a vertical line at zero."}}
fig = plotting.plot_effects(study.effect_table(decisions))
# %% [markdown]
# ## Check
#
# Where a residual is reported it has to be that of the image: the features of a stored inversion are
# computed once more and compared with those of the patch, up to what rounding makes of them.

# %%
run = networks[0]
made = inverted[run.route, run.seed]
network = run.load()
with torch.no_grad():
    goal = network.features(patches.tensors()[:1])[0]
    reached_by = network.features(made.images["block1"][:1])[0]
again = ((reached_by - goal) ** 2).sum() / (goal**2).sum()
assert np.isclose(again, made.table["residual"][0], rtol=0.3, atol=2e-3)

# %% [markdown]
# The numbers in the text come from here:

# %%
modified = ni_scores.groupby("entry")["modification"].mean()
verdicts = [d.verdict for d in decisions if d.claim.checks is None]


def tell(entry):
    """Modification of an entry, for the text."""
    value = modified.get(entry, np.nan)
    return "an unknown amount" if np.isnan(value) else f"{value:.2f}"


# %% tags=["nbval-ignore-output"]
facts = {
    "tolerance": tolerance,
    "share_converged": f"{every['converged'].mean():.0%}",
    **{f"{route}_first": tell(f"{route} block1") for route in titles},
    **{f"{route}_last": tell(f"{route} block4") for route in titles},
    "n_reproduced": verdicts.count("reproduced"),
    "n_refuted": verdicts.count("not reproduced"),
    "n_open": verdicts.count("inconclusive"),
}
for name, value in facts.items():
    glue(name, value, display=False)

# %% [markdown]
# Data and seeds go into the provenance:

# %%
chapters.close_results(
    results,
    data=study.describe_data(explained.data, seeds=seeds),
    seeds=seeds,
)

# %% [markdown]
# ## Summary
#
# - What a block cannot tell apart is what it has thrown away, but only where the inversion has
#   converged: {numref}`tab-reached` says where.
# - The comparison of networks needs an untrained one: what it loses as well takes no training to be
#   lost, and says little about what was learned.
# - At a fixed number of steps the curve over depth is the optimiser's as much as the network's.
#
# {doc}`../claims` collects what all chapters decided.
