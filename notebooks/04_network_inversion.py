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
# network could hardly distinguish the two (residual below {glue:text}`tolerance`;
# {glue:text}`fraction_converged` of the inversions got there). Where it did, the image that comes back
# from the segmentation encoder is modified by {glue:text}`segmentation_first` after the first block and by
# {glue:text}`segmentation_last` after the last (zero: unchanged, one: nothing in common), that of
# the classifier from scratch by {glue:text}`classification_first` and
# {glue:text}`classification_last`, and that of a network without training by
# {glue:text}`untrained_first` and {glue:text}`untrained_last`. Of the thesis' claims about this
# supported: {glue:text}`n_supported`, supported but failing their check: {glue:text}`n_failing`,
# tied: {glue:text}`n_tied`, contradicted: {glue:text}`n_contradicted`, open: {glue:text}`n_open`
# ({numref}`tab-ni-claims`).
#
# What can be set: whose networks are inverted, on how many patches and from how many starts, when an
# inversion is done, and how long the descent is that the page warns of.

# %% tags=["parameters", "hide-cell"]
classifiers: str = (
    "results/smoke/03_activation_maximization/classifiers.json"  # of chapter 3
)
loss_study: str = "results/smoke/02_loss_study/networks.json"  # of chapter 2
n_patches: int = 2  # unseen patches that are inverted, half of them salt
ni_seeds: list[int] = [0, 1]  # starts of each inversion
steps: int = 16  # of L-BFGS, at most
tolerance: float = 0.01  # residual at which an inversion is done
fixed_steps: int = 12  # of Adam, for the warning
adam_lr: float = 0.05  # its learning rate, in standard deviations
precision: str = "32-true"  # bf16 converges worse
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/04_network_inversion"  # where results go

# %% [markdown]
# `xai.invert` is the method, `study.Invert` a run of it on one block of one network; `page` keeps what
# this chapter computes.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from thesis_lib import chapters, plotting, study, xai
from thesis_lib.study import inversion
from thesis_lib.study.claim_tables import count_verdicts, effect_table
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.judging import pick_judge

page = chapters.open_page("04_network_inversion", globals())
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
# (In eq. 4 of the thesis the regulariser has the opposite sign, which would reward noise.)
# The first term is the *residual*. The two others hold back what the block does not see at all; they
# are so small that they hardly move the residual, and measured in units of the patch, because
# weights that suit photographs are off by orders of magnitude for seismic amplitudes. What differs
# between $x^*$ and $x_0$ at a small residual is what the block has thrown away, or holds so weakly
# that the residual does not show it: the square root of the residual is how far the features are
# apart, as a fraction of their length.
#
# The problem has local minima: the noise of the start decides which pixel wins a max pool, and the
# rest of the search follows. L-BFGS is therefore led in by a *warm start*, some steps in which max
# pools take means and low frequencies go first; the features to be met are those of the unchanged
# network throughout. An image that differs from the patch shows what a block can do without; one that
# agrees is weaker evidence, since the search may have put in what the block does not hold.
#
# If a network only turns the image without losing anything, the patch itself has to come back. An
# orthogonal matrix is such a network:

# %%
generator = torch.Generator().manual_seed(0)
turn = torch.nn.Linear(144, 144, bias=False)
turn.weight.data = torch.linalg.qr(torch.randn(144, 144, generator=generator)).Q
turning = torch.nn.Sequential(torch.nn.Flatten(), turn)
patch = torch.randn(1, 1, 12, 12, generator=generator)

# %% [markdown]
# Without regularisation, until hardly anything is left of the residual:

# %%
exact = {"tolerance": 1e-6, "norm_weight": 0.0, "variation_weight": 0.0}
back = xai.invert(turning, "1", patch, seeds=[0], progress=False, **exact)
assert torch.allclose(back.images, patch, atol=0.02)

# %% [markdown]
# A network that keeps a quarter of these rows, and of what they give only the positive part, has lost
# most of the patch. The loss above, by hand, at the faint noise that the descent starts from:

# %%
narrow = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(144, 36, bias=False), torch.nn.ReLU()
).double()
narrow[1].weight.data = turn.weight.data[:36].double()
x0 = patch.double()
noise = torch.randn(144, generator=torch.Generator().manual_seed(0)).double()
x = (0.1 * x0.std() * noise.reshape(x0.shape)).requires_grad_()
residual, norm, variation = (
    (narrow(x) - narrow(x0)).square().sum() / narrow(x0).square().sum(),
    (x**6).sum() / (x0**6).sum(),
    sum(x.diff(dim=n).square().sum() for n in (2, 3))
    / sum(x0.diff(dim=n).square().sum() for n in (2, 3)),
)

# %% [markdown]
# One step down its gradient, by Adam, and the same step of the library:

# %%
(residual + 1e-5 * norm + 1e-4 * variation).backward()
torch.optim.Adam([x], lr=adam_lr).step()
adam = {"optimizer": "adam", "lr": adam_lr}
step = xai.invert(narrow, "2", x0, seeds=[0], steps=1, progress=False, **adam)
assert torch.isclose(step.history[0, 0], residual)
assert torch.allclose(step.images, x)

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
networks = study.read_tasks(page.find(classifiers))
seeds = list(dict.fromkeys(network.seed for network in networks))
unseen = networks[0].patches.test(seeds[0])
patches = inversion.pick_patches(unseen, n_patches=n_patches)

# %% [markdown]
# As in that chapter, a segmentation network of another seed (with a single seed: of another loss) is
# the *judge* that finds the salt in what comes back:

# %%
trained = [score.network for score in study.read_tasks(page.find(loss_study))]
judges = {
    network.seed: pick_judge(trained, network.segmentation)
    for network in networks
    if network.segmentation
}

# %% [markdown]
# All blocks of all networks, by L-BFGS and until the residual is below the tolerance:

# %% tags=["nbval-ignore-output"]
tasks = [
    study.Invert(
        network,
        judges[network.seed],
        block,
        n_patches=n_patches,
        ni_seeds=tuple(ni_seeds),
        steps=steps,
        tolerance=tolerance,
        precision=precision,
    )
    for network in networks
    for block in inversion.BLOCKS
]
runs = page.run(tasks)

# %% [markdown]
# ## What comes back
#
# {numref}`fig-inversions` is Figure 4 of the thesis, for all three networks. It may be read only where
# the residual is below the tolerance: an image that is framed in red did not get there, and shows
# the optimiser as well as the network.

# %%
shown = len(patches) - 1  # the last patch: salt
row = shown * len(ni_seeds)
first = {name: {} for name in titles}
for run in runs:
    if run.task.network.seed == seeds[0]:
        first[run.task.network.initialisation][run.task.block] = run

# %% [markdown]
# One patch and one start of each network of the first seed:

# %%
given = patches.tensors()[shown, 0].numpy()
images, captions, framed = {}, {}, {}
for name, title in titles.items():
    found = [
        run.load_tensors("images")["images"] for run in first[name].values()
    ]
    records = [run.scores["images"][row] for run in first[name].values()]
    images[title] = np.stack([given, *(part[row, 0].numpy() for part in found)])
    captions[title] = ["\n"] + [
        f"residual {record['residual']:.2g}\n1 - SSIM {record['modification']:.2f}"
        for record in records
    ]
    framed[title] = [False, *(not record["converged"] for record in records)]

# %% [markdown]
# All of them with the contrast of the patch:

# %% tags=["training"] mystnb={"figure": {"name": "fig-inversions", "caption": "Figure 4 of the thesis: a patch of salt, and what comes back from each block of each network, first seed. Below each image its residual and by how much it is modified (1 - SSIM)."}, "image": {"alt": "For each of the three networks a row of grey images: the input, then its inversion from block 1 to block 4; some may be framed in red because they did not converge."}}
fig = plotting.plot_image_grid(
    images,
    column_titles=["input", *inversion.BLOCKS],
    captions=captions,
    framed=framed,
    limit=float(np.percentile(np.abs(given), 98)),
)
# %% [markdown]
# ## Measured against depth
#
# One picture is an anecdote. {numref}`fig-depth` has the means over all patches, with 95 % intervals
# over patches and seeds, of inversions that converged. (The claims below take a network as one value.)
#
# - *Correlation* with the input.
# - *Modification*: 1 - SSIM, the structural similarity with the input {cite}`wang2004image`.
# - *Spectral distance* to the input.
# - *F1 of the salt boundary*: does the judge find the same boundary in both?
# - *Label kept*: does the network itself give both the same class?
# - *Correlation of restarts*: how much the images from different starts have in common. What differs
#   between them is what the block does not hold.

# %%
columns = {
    "initialisation": "network.initialisation",
    "seed": "network.seed",
}
every = study.tabulate(runs, rows="images", **columns)
converged = inversion.keep_converged(every)
depth = inversion.summarise_depth(converged)
order = [*columns, "block", "patch", "ni_seed", *inversion.MEASURES]
page.save(inversions=every[order], depth=depth)

# %% [markdown]
# Where fewer than half of a network's images of a block converged, none of them is counted:

# %% tags=["training"] mystnb={"figure": {"name": "fig-depth", "caption": "Measures of the inversions against the depth of the block, with 95 % intervals over patches and seeds. Inversions that did not converge are left out; a cross marks where fewer than half of a network's did, and none is counted."}, "image": {"alt": "Six diagrams, one for each measure, each with a line for each network over blocks 1 to 4, and crosses at the bottom where a network has no value."}}
measures = inversion.MEASURES[4:]  # after those of the search
fig = plotting.plot_depth_curves(
    depth.replace({"initialisation": titles}), measures
)
# %% [markdown]
# How far each block got, and with how many passes through the network:

# %%
groups = every.groupby(["initialisation", "block"], sort=False)
reached = pd.DataFrame(
    {
        "Fraction converged": groups["converged"].mean().round(2),
        "Residual": groups["residual"].median().round(4),
        "Passes": groups["evaluations"].mean().round(1),
    }
)
page.save(reached=reached.rename(titles).rename_axis(["Network", "Block"]))

# %% [markdown]
# ```{csv-table} Fraction of inversions that converged, median residual and mean number of passes through the network.
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
# segmentation encoder, and {numref}`tab-warning` has what one would conclude from Adam's images if one
# took them for what the blocks keep. Where its rows differ from those that converged, so would the
# conclusions. The networks of the first seed and one start are enough to warn:

# %% tags=["nbval-ignore-output"]
stopped = page.run(
    replace(task, steps=fixed_steps, ni_seeds=tuple(ni_seeds[:1]), **adam)
    for task in tasks
    if task.network.seed == seeds[0]
)

# %% [markdown]
# What was left at each step:

# %% tags=["training"] mystnb={"figure": {"name": "fig-residuals", "caption": "Residual against the step for each block of the segmentation encoder, by L-BFGS and by Adam, first seed; dashed: the tolerance, dotted: the fixed number of steps. Thin lines are inversions, thick ones their medians."}, "image": {"alt": "Four diagrams, one for each block, with falling curves of the residual on a logarithmic axis, for L-BFGS and for Adam, a dashed line across at the tolerance and a dotted one upright at the fixed number of steps."}}
descents = {
    run.task.block: run
    for run in stopped
    if run.task.network.initialisation == "segmentation"
}
optimizers = {"L-BFGS": first["segmentation"], "Adam": descents}
fig = plotting.plot_histories(
    {
        block: {
            name: run[block].load_tensors("images")["history"].numpy()
            for name, run in optimizers.items()
        }
        for block in inversion.BLOCKS
    },
    ylabel="residual (dimensionless)",
    logarithmic=True,
    levels={f"tolerance {tolerance:g}": tolerance},
    marks={f"{fixed_steps} steps": fixed_steps},
)
# %% [markdown]
# And how much the images would seem to be modified:

# %%
both = {
    "converged": converged[converged["seed"] == seeds[0]],
    f"Adam, {fixed_steps} steps": study.tabulate(
        stopped, rows="images", **columns
    ),
}

# %% [markdown]
# One row per network, the modification of each block:

# %%
warning = {
    name: inversion.summarise_depth(table)
    .pivot(index="initialisation", columns="block", values="modification")
    .reindex(titles)
    for name, table in both.items()
}
warning = pd.concat(warning, names=["Stopped", "Network"]).round(3)
page.save(warning=warning.rename(titles))

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
# first. With fewer than three seeds every claim stays undecided.

# %%
ni_scores = inversion.average_blocks(converged)
decisions = page.decide("inversion", ni_scores)
page.save(scores=ni_scores)

# %% [markdown]
# ```{csv-table} The thesis' claims about network inversion, tested on the data of this page.
# :file: ../results/04_network_inversion/claims.csv
# :header-rows: 1
# :name: tab-ni-claims
# ```

# %% tags=["training"] mystnb={"figure": {"name": "fig-ni-effects", "caption": "Effect of every claim: mean over seeds with its one-sided 95 % bounds. Right of zero speaks for the claim; the grey band is the margin, within which differences do not matter. A cross marks what has no value, because too few inversions converged."}, "image": {"alt": "Forest plot with a panel per claim: dots for the means and bars for their bounds, around a vertical line at zero."}}
fig = plotting.plot_effects(effect_table(decisions))
# %% [markdown]
# ## Check
#
# Where a residual is reported it has to be that of the image: the features of a stored inversion are
# computed once more and compared with those of the patch, up to what rounding makes of them.

# %%
run = runs[0]
network = load_classifier(run.parents["network"])
made = run.load_tensors("images")["images"][:1]
with torch.no_grad():
    goal, got = (network.features(x)[0] for x in (patches.tensors()[:1], made))
again = ((got - goal) ** 2).sum() / (goal**2).sum()
assert np.isclose(again, every["residual"][0], rtol=0.3, atol=2e-3)

# %% [markdown]
# The numbers in the text come from here:

# %% tags=["nbval-ignore-output"]
modified = ni_scores.groupby("entry")["modification"].mean()
words = modified.map("{:.2f}".format).replace("nan", "an unknown amount")
page.tell(
    tolerance=tolerance,
    fraction_converged=f"{every['converged'].mean():.0%}",
    **count_verdicts(decisions),
    **{f"{name}_first": words[f"{name} block1"] for name in titles},
    **{f"{name}_last": words[f"{name} block4"] for name in titles},
)
page.close()

# %% [markdown]
# ## Summary
#
# - What a block cannot distinguish is what it has thrown away, but only where the inversion has
#   converged: {numref}`tab-reached` shows where.
# - The comparison of networks needs an untrained one: what it loses as well takes no training to be
#   lost, and is no evidence of what was learned.
# - At a fixed number of steps the curve over depth is the optimiser's as much as the network's.
#
# {doc}`The next chapter <05_class_activation>` asks where in a patch a network finds its reasons.
