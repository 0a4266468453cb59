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
# **In short.** Two ways lead back from the output of a block to the patch. The first is a small decoder
# that was trained to read patches from the block and is scored on unseen volumes: no descent can get stuck
# in it, so the claims rest on it. After block 1 it reads {glue:text}`segmentation_first` of the variance of a
# patch from the segmentation encoder, {glue:text}`classification_first` from the classifier from scratch
# and {glue:text}`untrained_first` from a network without training; after block 4
# {glue:text}`segmentation_last`, {glue:text}`classification_last` and {glue:text}`untrained_last`. Where the
# *salt* is can be read by a linear probe, at the block where it reads it best, with an average precision of
# {glue:text}`segmentation_probe`, {glue:text}`classification_probe` and {glue:text}`untrained_probe`. The second
# way is network inversion: the smoothest image that the block can hardly tell from the patch. It shows
# *what* the block can do without: at least the detail that is missing in it. What it still shows may be
# more than the block needs, since a smoother image may exist that the descent did not find. Of the thesis'
# claims about this supported: {glue:text}`n_supported`, supported but failing their check:
# {glue:text}`n_failing`, tied: {glue:text}`n_tied`, contradicted: {glue:text}`n_contradicted`, open:
# {glue:text}`n_open` ({numref}`tab-ni-claims`), from {glue:text}`n_seeds` seed(s); fewer than three decide
# nothing.
#
# ```{head-figure} fig-inversions
# ```
#
# What can be set: whose networks are looked into, on how many patches, at which residuals, and how long
# decoders are trained.

# %% tags=["parameters", "hide-cell"]
classifiers: str = (
    "results/smoke/03_activation_maximization/classifiers.json"  # of chapter 3
)
loss_study: str = "results/smoke/02_loss_study/networks.json"  # of chapter 2
n_patches: int = 2  # unseen patches that are inverted, half of them salt
levels: list[float] = [0.03]  # residuals of the inversions
steps: int = 3  # of L-BFGS for each level and direction
n_read: int = 64  # patches that decoders and probes are trained on
n_unseen: int = 32  # unseen patches that they are scored on
read_steps: int = 8  # of their training
n_admitted: int = 6  # patches of salt that test the F1 of the boundary
precision: str = "32-true"  # of inversions
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/04_network_inversion"  # where results go

# %% [markdown]
# `xai.invert` and `xai.readout` are the methods, `study.Invert` and `study.Readout` runs of them; `page`
# keeps what this chapter computes.

# %% tags=["hide-cell"]
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from thesis_lib import chapters, plotting, study, xai
from thesis_lib.study import inversion
from thesis_lib.study.claim_tables import count_verdicts, effect_table
from thesis_lib.study.judging import pick_judge

page = chapters.open_page("04_network_inversion", globals())
titles = {
    "frozen": "(a) frozen",
    "segmentation": "(a) tuned",
    "classification": "(b) from scratch",
    "untrained": "untrained",
}

# %% [markdown]
# ## The idea
#
# Let $A(x)$ be what a block makes of an image $x$. Many images have nearly the same features; the question
# is what they have in common. *Network inversion* looks for one of them {cite}`mahendran2015understanding`.
# Here it is the smoothest whose *residual* is at most $\tau$:
#
# $$
# x^* = \arg\min_x \frac{\sum |\nabla x|^2}{\sum |\nabla x_0|^2}
# + \lambda_\alpha \frac{\sum |x|^6}{\sum |x_0|^6}
# \quad \text{subject to} \quad
# \frac{\lVert A(x) - A(x_0) \rVert^2}{\lVert A(x_0) \rVert^2} \le \tau.
# $$
#
# The thesis (eq. 4) minimises the residual plus the regulariser at a fixed weight, and there the regulariser
# has the opposite sign, which would reward noise. A fixed weight means another residual for each block and
# network, and images that cannot be compared. To fix the residual instead is the *discrepancy
# principle*: all images are equally hard to tell from their patch, and what differs is the image.
#
# The descent is L-BFGS with a weight of the regulariser that is steered until the residual meets $\tau$. It
# starts *at the patch*: detail is taken away until the block notices, up to the largest $\tau$, and on
# the way back only what the block asks for returns. So every level is met, and what is missing was
# removed without the block noticing. A start at *noise*, where nothing is known but the
# features, is shown beside: it ends in local minima.
#
# If a network only turns the image without losing anything, the patch itself has to come back. An
# orthogonal matrix is such a network:

# %%
generator = torch.Generator().manual_seed(0)
turn = torch.nn.Linear(144, 144, bias=False).double()
turn.weight.data = torch.linalg.qr(
    torch.randn(144, 144, generator=generator).double()
).Q
turning = torch.nn.Sequential(torch.nn.Flatten(), turn)
patch = torch.randn(1, 1, 12, 12, generator=generator).double()
kept = xai.invert(turning, "1", patch, levels=[1e-4], progress=False)
assert torch.allclose(kept.images[0], patch, atol=0.1)

# %% [markdown]
# A network that keeps a quarter of these rows has lost most of the patch. Being linear, it has a known
# answer. With $L$ the matrix of $\sum |\nabla x|^2$, the smoothest image at a residual solves
#
# $$
# (A^\top A + \lambda L)\, x = A^\top A\, x_0
# $$
#
# for the one $\lambda$ that gives this residual (Tikhonov). $L$ and the left side:

# %%
rows = turn.weight.data[:36]
narrow = torch.nn.Sequential(
    torch.nn.Flatten(), torch.nn.Linear(144, 36, bias=False)
)
narrow[1].weight.data = rows.clone()
pixels = torch.eye(144).double().reshape(144, 1, 12, 12)
slopes = [pixels.diff(dim=n).flatten(1) for n in (2, 3)]
roughness = sum(slope @ slope.T for slope in slopes)
seen = rows.T @ rows

# %% [markdown]
# The weight is read off at the image that was found, and the equation solved with it:

# %%
found = xai.invert(
    narrow,
    "1",
    patch,
    levels=[0.05],
    norm_weight=0.0,
    steps=200,
    progress=False,
)
image, x0 = found.images[0].flatten(), patch.flatten()
push, pull = seen @ (x0 - image), roughness @ image
weight = (push @ pull) / (pull @ pull)
known = torch.linalg.solve(seen + weight * roughness, seen @ x0)
assert torch.allclose(image, known, atol=0.03)
assert found.prior[0, 0] < 1

# %% [markdown]
# ## Whose blocks
#
# The four networks of {doc}`the last chapter <03_activation_maximization>`, of each seed: the segmentation
# encoder as it is (*frozen*) and *tuned* as classifier (a), the classifier from scratch (b), which was
# trained for as many steps as both trainings of (a) together, and the control without training. The patches come
# from unseen volumes and are the same for all networks of a seed.
#
# The four blocks are looked into one by one. The latent representation of the thesis puts all four side
# by side and thus contains the first, from which almost everything comes back, whatever the network.

# %%
networks = study.read_tasks(page.find(classifiers))
seeds = list(dict.fromkeys(network.seed for network in networks))
trained = [score.network for score in study.read_tasks(page.find(loss_study))]
judges = {
    network.seed: pick_judge(trained, network.segmentation)
    for network in networks
    if network.segmentation
}

# %% [markdown]
# As in that chapter, a segmentation network of another seed (with a single seed: of another loss) is the
# *judge* that finds the salt in what comes back.
#
# ## What can be read
#
# A *decoder* of the same width for every block and network turns features into patches
# {cite}`dosovitskiy2016inverting`; its score is the explained variance on unseen patches,
#
# $$
# R^2 = 1 - \frac{\sum (x - \hat x)^2}{\sum (x - \bar x)^2},
# $$
#
# 1 if they come back whole and 0 if nothing but their mean does. A *linear probe* is trained to give the mask
# of the salt, and scored by its average precision.

# %% tags=["nbval-ignore-output"]
readouts = page.run(
    (
        study.Readout(
            network,
            replace(network.patches, n_train=n_read, n_test=n_unseen),
            n_shown=n_patches,
            steps=read_steps,
        )
        for network in networks
    ),
    partial=True,
)

# %% [markdown]
# ## What is inverted
#
# All blocks of all networks, from the patch:

# %% tags=["nbval-ignore-output"]
tasks = [
    study.Invert(
        network,
        judges[network.seed],
        n_patches=n_patches,
        levels=tuple(levels),
        steps=steps,
        precision=precision,
    )
    for network in networks
]
runs = page.run(tasks, partial=True)

# %% [markdown]
# And for comparison the tuned segmentation encoder of the first seed from noise:

# %% tags=["nbval-ignore-output"]
blind = page.run(
    replace(task, start="noise")
    for task in tasks
    if task.network.seed == seeds[0]
    and task.network.initialisation == "segmentation"
)

# %% [markdown]
# {numref}`fig-inversions` shows both ways back for one patch. A decoder gives the mean of all patches that
# fit the features: what is uncertain is blurred. An inversion gives one image that fits: what is
# uncertain is smooth where the block does not care, and arbitrary where it does.

# %%
strictest = levels.index(min(levels))
given = inversion.pick_patches(
    networks[0].patches.test(seeds[0]), n_patches=n_patches
)
given = given.tensors()[-1, 0].numpy()  # the last patch: salt


def show_images(name, group, tensors):
    """The patch, and what comes back from each block of a network."""
    (run,) = [
        run
        for run in group
        if (run.task.network.seed, run.task.network.initialisation)
        == (seeds[0], name)
    ]
    found = run.load_tensors(tensors)
    at = (-1, 0) if tensors == "decoded" else (strictest, -1, 0)
    last = [found[block][at].numpy() for block in inversion.BLOCKS]
    return np.stack([given, *last]), run


# %% [markdown]
# Three networks of the first seed: decoded and inverted from the patch, one of them from noise too.

# %%
images, captions = {}, {}
for name, title in list(titles.items())[1:]:
    images[f"{title}: decoded"], _ = show_images(name, readouts, "decoded")
    ways = {"inverted": runs}
    if name == blind[0].task.network.initialisation:
        ways["from noise"] = blind
    for kind, group in ways.items():
        label = f"{title}: {kind}"
        images[label], run = show_images(name, group, "images")
        table = study.tabulate([run], rows="images")
        last = (table["level"] == min(levels)) & (
            table["patch"] == n_patches - 1
        )
        residuals = table.loc[last, "residual"]
        captions[label] = ["", *residuals.map("residual {:.2g}".format)]

# %% [markdown]
# All of them with the contrast of the patch:

# %% tags=["training"] mystnb={"figure": {"name": "fig-inversions", "caption": "After Figure 4 of the thesis: a patch of salt, and what comes back from each block of each network, first seed: decoded, and inverted at the lowest residual of this page from the patch, for one network from noise as well. Below each inversion the residual that it has; one above that level did not get there."}, "image": {"alt": "For each of three networks two rows of grey images: the input, then what a decoder makes of block 1 to block 4, and the inversion; for the first a third row with inversions from noise."}}
fig = plotting.plot_image_grid(
    images,
    column_titles=["input", *inversion.BLOCKS],
    captions=captions,
    limit=float(np.percentile(np.abs(given), 98)),
)
# %% [markdown]
# The same images one block after the other, decoded above, inverted below:

# %%
pairs = [
    f"{titles[name]}: {kind}"
    for kind in ("decoded", "inverted")
    for name in list(titles)[1:]
]
film = plotting.make_film(
    {pair: images[pair] for pair in pairs},
    frames=["the patch itself", *(f"block {k}" for k in range(1, 5))],
    captions=captions,
    limit=float(np.percentile(np.abs(given), 98)),
    n_columns=3,
)
page.save(blocks=film)

# %% [markdown]
# ```{film} ../results/04_network_inversion/blocks.json
# :title: Step through the blocks
#
# What comes back from the patch after each block of the three networks of {numref}`fig-inversions`, with the
# residuals of the inversions.
# ```
#
# ## What the start decides
#
# Of two images at one residual the smoother is the better solution; an image *rougher* than the patch is no
# solution at all, since the patch itself is smoother and fits exactly.
# {numref}`tab-starts` has both starts at the lowest level. Where noise gets to a higher residual or to a rougher
# image, it was stuck, and its image says nothing of the block.

# %%
columns = {
    "initialisation": "network.initialisation",
    "seed": "network.seed",
}
every = study.tabulate(runs, rows="images", **columns)
lowest = every[every["level"] == min(levels)]
noisy = study.tabulate(blind, rows="images", **columns)
noisy = noisy[noisy["level"] == min(levels)]
same = (lowest["seed"] == seeds[0]) & (
    lowest["initialisation"] == "segmentation"
)
both = {"patch": lowest[same], "noise": noisy}
starts = {
    f"{measure} from {name}": table.groupby("block")[column].mean()
    for name, table in both.items()
    for measure, column in {
        "Residual": "residual",
        "Roughness": "prior",
    }.items()
}
starts = pd.DataFrame(starts).round(4)
page.save(starts=starts.rename_axis("Block"))

# %% [markdown]
# ```{csv-table} Residual and roughness of inversions of the tuned segmentation encoder at the lowest level from the patch and from noise, means over patches, first seed.
# :file: ../results/04_network_inversion/starts.csv
# :header-rows: 1
# :name: tab-starts
# ```
#
# ## How much goes at which residual
#
# {numref}`fig-rates` has the rate against the distortion: how much of the image changes if the block is allowed
# to notice more or less.

# %% tags=["training"] mystnb={"figure": {"name": "fig-rates", "caption": "Modification (1 - SSIM within the band of the data) of the smoothest images against the residual, block by block. Thin lines are seeds, thick ones their medians."}, "image": {"alt": "Four diagrams, one for each block, with a curve for each network that rises with the residual."}}
levels_up = sorted(levels)
curves = every.pivot_table(
    "modification", ["block", "initialisation", "seed"], "level", sort=False
)[levels_up]
fig = plotting.plot_histories(
    {
        block: {
            titles[name]: curves.loc[block, name].to_numpy() for name in titles
        }
        for block in inversion.BLOCKS
    },
    x=100 * np.array(levels_up),
    xlabel="residual (%)",
    ylabel="modification (1 − SSIM)",
)
# %% [markdown]
# ## Measured against depth
#
# {numref}`fig-depth` has the means over patches, with 95 % intervals over seeds.
#
# - *Variance read out*: $R^2$ of the decoder on unseen patches.
# - *Average precision of the mask*: of the linear probe.
# - *F1 of the salt boundary*: does the judge find the same boundary in the inverted image and in the patch?
# - *Correlation* and *modification* of the inverted images, within the band of the data.
# - *Label kept*: does the network itself give image and patch the same class?

# %%
read = study.tabulate(readouts, rows="blocks", **columns)
kinds = ["initialisation", "block"]
of_images = ["boundary_f1", "correlation", "modification", "label_kept"]
depth = inversion.summarise_depth(read, kinds, ["explained", "probe"]).merge(
    inversion.summarise_depth(lowest, kinds, of_images), on=kinds
)
page.save(inversions=every, readouts=read, depth=depth)

# %% tags=["training"] mystnb={"figure": {"name": "fig-depth", "caption": "What can be read from each block, and measures of its inversions at the lowest residual, with 95 % intervals over seeds."}, "image": {"alt": "Six diagrams, one for each measure, each with a line for each network over blocks 1 to 4."}}
fig = plotting.plot_depth_curves(
    depth.replace({"initialisation": titles}),
    ["explained", "probe", *of_images],
)
# %% [markdown]
# ## Is the boundary a valid measure?
#
# It is, if it tells known things apart: a patch and itself with weak noise (the same boundary) from two patches of
# salt (different ones). It decides claims only at an AUC of at least 0.9:

# %% tags=["nbval-ignore-output"]
admissions = page.run(
    (
        study.Admit(
            network.patches, judges[network.seed], network.seed, n_admitted
        )
        for network in networks
        if network.initialisation == "segmentation"
    ),
    partial=True,
)

# %%
pairs = study.tabulate(admissions, seed="seed")[
    ["seed", "auc", "same", "different"]
]
page.save(
    admissions=pairs.round(3).set_axis(
        ["Seed", "AUC", "F1 of the same", "F1 of different"], axis=1
    )
)

# %% [markdown]
# ```{csv-table} F1 of the boundary of pairs of patches that are known to be the same or different, and how well it tells them apart.
# :file: ../results/04_network_inversion/admissions.csv
# :header-rows: 1
# :name: tab-admissions
# ```
#
# ## The claims
#
# Measure, direction and margin were fixed before the first full run, and no result changes them;
# {doc}`../notation` states the rule. They rest on the decoders: *lost* is $1 - R^2$. The null to beat is that of
# He, Wang and Hopcroft: networks without training invert best {cite}`he2016powerful`. A network is one observation.

# %%
ni_scores = inversion.score_blocks(read, lowest)
decisions = page.decide(
    "inversion", ni_scores, admissions={"boundary_f1": pairs["auc"].mean()}
)
page.save(scores=ni_scores)

# %% [markdown]
# ```{csv-table} The thesis' claims about network inversion, tested on the data of this page.
# :file: ../results/04_network_inversion/claims.csv
# :header-rows: 1
# :name: tab-ni-claims
# ```

# %% tags=["training"] mystnb={"figure": {"name": "fig-ni-effects", "caption": "Effect of every claim in units of its margin: mean over seeds with its one-sided 95 % bounds. Right of zero speaks for the claim; within the grey band differences do not matter, and beyond it the axis is logarithmic."}, "image": {"alt": "Forest plot, one claim below the other with its verdict: dots for the means and bars for their bounds, around a vertical line at zero."}}
fig = plotting.plot_forest(effect_table(decisions))
# %% [markdown]
# ## Check
#
# From the patch every level has to be met, and no image may be rougher than its patch:

# %%
assert every["reached"].all()
assert (every["prior"] <= 1.1).all()

# %% [markdown]
# The numbers in the text come from here:

# %% tags=["nbval-ignore-output"]
by_block = read.groupby(["initialisation", "block"])
words = by_block["explained"].mean()
best = by_block["probe"].mean().groupby("initialisation").max()
page.tell(
    n_seeds=read["seed"].nunique(),
    **count_verdicts(decisions),
    **{f"{name}_first": f"{words[name, 'block1']:.0%}" for name in titles},
    **{f"{name}_last": f"{words[name, 'block4']:.0%}" for name in titles},
    **{f"{name}_probe": f"{best[name]:.2f}" for name in titles},
)
page.close()

# %% [markdown]
# ## Summary
#
# - How much of a patch a block holds is answered by a readout of fixed size and training; an inversion shows what
#   a block can do without.
# - Inversions are comparable at equal residual only. From noise they get stuck in deep blocks, at higher residuals
#   or as rough images ({numref}`tab-starts`): what is missing there is the search's and not the network's.
# - The comparison of networks needs an untrained one: what it loses as well takes no training to be
#   lost, and is no evidence of what was learned.
#
# {doc}`The next chapter <05_class_activation>` asks where in a patch a network finds its reasons.
