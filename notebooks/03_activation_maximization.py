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
# # What does a network imagine when it is asked for salt?
#
# **In short.** Averaged over salt and background, a classifier that took over the encoder of a
# segmentation network is right about {glue:text}`accuracy_segmentation` of the patches of unseen
# volumes, one that was trained from scratch about {glue:text}`accuracy_classification`. In the images
# that excite the class *salt* most, the contour that an independent network finds is
# {glue:text}`sharpness_segmentation` times as steep as the image on average for the first,
# {glue:text}`sharpness_classification` times for the second, and {glue:text}`sharpness_untrained`
# times for a network that was never trained; in unseen patches of salt it is
# {glue:text}`sharpness_data` times as steep. Exactly one body is found in {glue:text}`one_body` of the
# images of the first. Of the thesis' claims about all this, supported: {glue:text}`n_supported`,
# supported but failing their check: {glue:text}`n_failing`, tied: {glue:text}`n_tied`, contradicted:
# {glue:text}`n_contradicted`, open: {glue:text}`n_open` ({numref}`tab-am-claims`).
#
# What can be set: the loss whose networks are explained, the patches and their classes, the budget of
# the classifiers, and the steps and starts of the ascent.

# %% tags=["parameters", "hide-cell"]
loss_study: str = "results/smoke/02_loss_study/networks.json"  # of chapter 2
loss: str = "dice"  # the loss whose networks lend their encoders
label_threshold: float = 0.2  # fraction of salt above which a patch is salt
n_train_patches: int = 192  # of the volumes trained on, per seed
n_test_patches: int = 160  # of the unseen volumes
epochs: int = 1  # of both classifiers
lr: float = 0.001  # peak of the one-cycle learning rate
encoder_lr_ratio: float = 0.1  # of it, for an encoder that is taken over
batch_size: int = 16  # patches per step
am_seeds: list[int] = [0, 1]  # starts of the ascent, for each class
am_steps: int = 12  # steps of the ascent
am_lr: float = 0.05  # their learning rate
n_data: int = 8  # unseen patches per class that are measured
precision: str = "32-true"  # "auto": bf16 where hardware is good at it
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/03_activation_maximization"  # results go

# %% [markdown]
# The library supplies networks, ascents and measures; `page` keeps what this chapter computes.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from thesis_lib import chapters, plotting, study, xai
from thesis_lib.patches import SaltPatches
from thesis_lib.patching import zscore
from thesis_lib.study.claim_tables import count_verdicts, effect_table
from thesis_lib.study.classification import load_classifier, load_predictions
from thesis_lib.study.judging import pick_judge
from thesis_lib.study.maximization import measure_data
from thesis_lib.study.tables import format_cell
from thesis_lib.training import TrainConfig

page = chapters.open_page("03_activation_maximization", globals())
titles = {
    "segmentation": "(a) segmentation encoder",
    "classification": "(b) classifier from scratch",
    "untrained": "untrained network",
}

# %% [markdown]
# ## Two ways to a classifier
#
# A segmentation network answers with an image: none of its neurons means *salt*. The thesis
# therefore makes classifiers. A patch is called *salt* when more than the fraction
# `label_threshold` of it is salt. Each channel of the four blocks of the encoder is averaged over the
# patch, and a linear layer on all these means gives one logit per class. There are two ways to
# initialise such a network, and a control:
#
# - **(a) segmentation encoder**: the encoder of a network (trained with the loss `loss`) of
#   {doc}`the loss study <02_loss_study>`, without its decoder. The new head learns at the full
#   rate, the encoder at a small fraction of it.
# - **(b) classifier from scratch**: the same network from random weights.
# - **untrained**: random weights that stay, with the statistics of batch normalisation taken from
#   the data. What it shows as well is owed to the architecture, not to anything learned.
#
# (a) and (b) see the same patches in the same order, from the volumes that the loss study trained
# on, and are scored on its unseen volumes. The encoder of (a) has seen those volumes before, with
# their masks: that is what is asked about, and no fair race to an accuracy.
#
# So the networks of the loss study are the start, those of one loss with all of its seeds:

# %%
scored = study.read_tasks(page.find(loss_study))
trained = [score.network for score in scored]
seeds = list(dict.fromkeys(network.seed for network in trained))
encoders = study.grid(trained[0], loss=[loss], seed=seeds)

# %% [markdown]
# The patches are cut from its volumes:

# %%
network = trained[0]
patches = SaltPatches(
    data=network.data,
    patch=network.patch,
    stride=network.stride,
    axes=network.axes,
    threshold=label_threshold,
    n_train=n_train_patches,
    n_test=n_test_patches,
    n_earths=scored[0].n_earths,
)
unseen = patches.test(seeds[0])

# %% [markdown]
# A classifier is a task again, and a network whose encoder it takes over is its parent.

# %%
classifier = study.Classify(
    seed=seeds[0],
    patches=patches,
    train=TrainConfig(epochs=epochs, lr=lr, precision=precision),
    encoder_lr_ratio=encoder_lr_ratio,
    batch_size=batch_size,
    encoder=network.encoder,
    pretrained=network.pretrained,
)

# %% [markdown]
# Each seed has three of them:

# %%
tasks = [
    task
    for encoder in encoders
    for task in study.compare_initialisations(
        replace(classifier, seed=encoder.seed), encoder
    )
]

# %% [markdown]
# A network that was trained before is found again; the others are trained now:

# %% tags=["nbval-ignore-output"]
networks = page.run(tasks)
page.save(classifiers=tasks)

# %% [markdown]
# All networks of a seed are scored on the same unseen patches:

# %%
columns = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auc": "AUC",
    "calibration_error": "Calibration error",
}
scores = study.tabulate(networks, initialisation="initialisation", seed="seed")
by_initialisation = scores.groupby("initialisation", sort=False)
table = by_initialisation[[*columns]].agg(format_cell, digits=4)
table = table.rename(index=titles, columns=columns).rename_axis("Network")
page.save(classifiers=scores, classifiers_table=table)

# %% [markdown]
# ```{csv-table} Both classifiers and the control on patches of the unseen volumes. With several seeds: mean ± half of its 95 % interval.
# :file: ../results/03_activation_maximization/classifiers_table.csv
# :header-rows: 1
# :name: tab-classifiers
# ```
#
# Accuracy alone flatters whoever always answers *background*. The balanced accuracy is the mean over
# the classes, the area under the curve (AUC) does not depend on where the probability is cut, and
# with a calibration error of zero, of all patches called salt with a probability $p$ a fraction $p$
# is.
#
# There is no gap between the classes: a patch with a little less salt than the threshold is
# background, one with a little more is salt. The thesis calls such patches ambiguous, and the right
# side of {numref}`fig-accuracy` shows whether they are.

# %%
first = {
    run.task.initialisation: run
    for run in networks
    if run.task.seed == seeds[0]
}
compared = study.INITIALISATIONS[:2]

# %% [markdown]
# Patches are collected in bins of equal width, and so is confidence, the probability of the class that
# is predicted.


# %%
def bin_accuracy(predictions, column, n_bins=10):
    """Accuracy in bins of a column of predictions that lies in [0, 1]."""
    position = (n_bins * predictions[column]).clip(upper=n_bins - 1).astype(int)
    return predictions.groupby(position.to_numpy()).agg(
        **{column: (column, "mean")},
        accuracy=("correct", "mean"),
        count=("correct", "size"),
    )


# %% [markdown]
# {numref}`fig-accuracy` has the accuracy in every bin:

# %% tags=["training"] mystnb={"figure": {"name": "fig-accuracy", "caption": "How often the classifiers are right on unseen patches, first seed: at each confidence (on the diagonal they are calibrated), and at each fraction of salt in the patch (dashed: the threshold). Below, the number of patches."}, "image": {"alt": "Two diagrams of accuracy: on the left against the confidence of the classifier, with a diagonal; on the right against the fraction of salt, with a dashed vertical line at the threshold. A line for each classifier."}}
by_confidence, by_fraction = (
    {
        titles[name]: bin_accuracy(load_predictions(first[name]), column)
        for name in compared
    }
    for column in ("confidence", "fraction")
)
fig = plotting.plot_accuracy(
    by_confidence, by_fraction, threshold=label_threshold
)
# %% [markdown]
# What is taken for what:

# %% tags=["training"] mystnb={"figure": {"name": "fig-confusion", "caption": "Unseen patches by their true class (rows) and the predicted one (columns), first seed."}, "image": {"alt": "A square of four counts for each classifier: background and salt in truth against background and salt as predicted."}}
confusions = {
    titles[name]: np.array(first[name].scores["confusion"]) for name in compared
}
fig = plotting.plot_confusions(confusions, classes=unseen.classes)
# %% [markdown]
# ## Activation maximization
#
# Which image excites a neuron most? With $h(\theta, x)$ the output of the neuron in a network with
# weights $\theta$,
#
# $$
# x^* = \arg\max_x h(\theta, x),
# $$
#
# found by following the gradient with respect to the image {cite}`erhan2009visualizing`. For a
# neuron that is linear in the image, one step of length $\eta$ from an empty image lands on $\eta$
# times its weights:

# %%
linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
one_step = xai.maximize(
    linear,
    xai.class_logit(1),
    (8, 8),
    seeds=[0],
    steps=1,
    lr=0.1,
    optimizer="sgd",
    image=xai.Pixels(std=0.0),
    robustness=None,
    zscored=False,
    progress=False,
)
weights = linear[1].weight[1].reshape(8, 8)
assert torch.allclose(one_step.images[0, 0], 0.1 * weights)

# %% [markdown]
# The ascent itself is a short loop. The image starts as faint noise and is z-scored before the network
# sees it, as every patch was in training; then an optimiser, here Adam, moves its pixels. Optimisers
# descend, hence the minus. For a small network with a convolution:

# %%
small = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3),
    torch.nn.Tanh(),
    torch.nn.Flatten(),
    torch.nn.Linear(144, 2),
).double()
generator = torch.Generator().manual_seed(0)
pixels = (0.01 * torch.randn(1, 1, 8, 8, generator=generator)).double()
optimizer = torch.optim.Adam([pixels.requires_grad_()], lr=0.05)
for _ in range(3):
    optimizer.zero_grad()
    logit = small(zscore(pixels))[0, 1]
    (-logit).backward()
    optimizer.step()

# %% [markdown]
# The library has to find the same image:

# %%
three_steps = xai.maximize(
    small,
    xai.class_logit(1),
    (8, 8),
    seeds=[0],
    steps=3,
    lr=0.05,
    image=xai.Pixels(std=0.01),
    robustness=None,
    progress=False,
)
assert torch.allclose(three_steps.images, zscore(pixels.detach()))

# %% [markdown]
# Left alone, the ascent through a deep network covers the image with fine noise that means nothing to
# a reader. Two remedies are used here. The image is written as Fourier coefficients, so that a step
# changes what is smooth more than what is rough, and at each step it is shifted, enlarged and
# turned a little, so that only what survives that is found: *transformation robustness*
# {cite}`olah2017feature`. Images are never flipped: depth and dip have a meaning.
#
# The neuron is the logit of a class. Its probability is no measure: in a trained network an ascent
# soon drives it to one, whatever the image looks like.
#
# Images are judged by what does not depend on the network that made them. A *judge*, a segmentation
# network of the loss study that had another seed (with a single seed: another loss), finds the salt
# in them; and they are compared with *data*, the unseen patches.

# %%
judges = {encoder.seed: pick_judge(trained, encoder) for encoder in encoders}

# %% [markdown]
# An ascent is a task as well, with a classifier and its judge as parents. Some images are kept on the
# way:

# %%
strip = {round(am_steps * part) for part in (0, 0.04, 0.15, 0.4, 1)}
ascents = {
    (task.initialisation, task.seed): study.Maximize(
        task,
        judges[task.seed],
        tuple(am_seeds),
        classes=(0, 1),
        steps=am_steps,
        lr=am_lr,
        snapshots=tuple(sorted(strip)),
        precision=precision,
    )
    for task in tasks
}

# %% [markdown]
# Each network maximizes both classes. To see what robustness alone does, the class *salt* of the
# segmentation encoder is maximized twice more, pixel by pixel: *naively*, and with the movements.

# %%
for seed in seeds:
    ascent = replace(
        ascents["segmentation", seed], classes=(1,), image="pixels"
    )
    ascents["naive", seed] = replace(ascent, robust=False)
    ascents["robust", seed] = ascent

# %% [markdown]
# The images of every ascent are found again or made now:

# %% tags=["nbval-ignore-output"]
found = dict(zip(ascents, page.run(ascents.values()), strict=True))
tensors = {key: run.load_tensors("images") for key, run in found.items()}

# %% [markdown]
# Each image is one row of a table of measures:

# %%
images = pd.concat(
    {key: study.tabulate([run], rows="images") for key, run in found.items()},
    names=["entry", "seed"],
).reset_index(level=["entry", "seed"])

# %% [markdown]
# The same measures of some unseen patches, each against the others of its class, show what data look
# like in these numbers:

# %%
seed = seeds[0]
run = found["segmentation", seed]
measured = measure_data(
    run.parents["network"],
    judge=run.parents.get("judge"),
    n_per_class=n_data,
    seed=seed,
)

# %% [markdown]
# ### The class salt
#
# {numref}`fig-am-salt` is Figure 3 of the thesis: images of the segmentation encoder (a) and of the
# classifier from scratch (b), from several starts. Below them is what they are to be judged by:
# a network that learned nothing, the unseen patches that the network of (a) takes for most similar to
# its images, other unseen patches of salt, and an ascent without any remedy.


# %%
def collect_rows(k):
    """Images of class k of all networks, with the controls."""
    n, name = len(am_seeds), unseen.classes[k]
    made = images[(images["seed"] == seed) & (images["class"] == name)]
    nearest = made.loc[made["entry"] == "segmentation", "nearest_patch"]
    others = measured.loc[measured["class"] == name, "patch"][:n]
    return {
        **{
            title: tensors[entry, seed]["images"][k * n :][:n, 0].numpy()
            for entry, title in titles.items()
        },
        "patches nearest to (a)": unseen.tensors()[nearest.tolist(), 0].numpy(),
        f"patches of {name}": unseen.tensors()[others.tolist(), 0].numpy(),
    }


# %% [markdown]
# The naive images of (a) are in the last row:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-salt", "caption": "Figure 3 of the thesis: images that maximize the class salt, (a) for the segmentation encoder and (b) for the classifier from scratch, with controls; first seed, a column for each start of the ascent."}, "image": {"alt": "Rows of small grey images: what excites the class salt of the segmentation encoder, of the classifier from scratch and of an untrained network, the nearest unseen patches, unseen patches of salt, and a naive ascent."}}
rows = collect_rows(1)
naive = tensors["naive", seed]["images"][:, 0].numpy()
rows["(a) naive: pixels, no robustness"] = naive
starts = [f"start {start}" for start in am_seeds]
fig = plotting.plot_image_grid(rows, column_titles=starts)
# %% [markdown]
# ### The class background
#
# The same networks, asked for the opposite:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-background", "caption": "Images that maximize the class background, with the same controls; first seed."}, "image": {"alt": "Rows of small grey images that excite the class background of each network, the nearest unseen patches, and unseen patches of background."}}
fig = plotting.plot_image_grid(collect_rows(0), column_titles=starts)
# %% [markdown]
# ### How an image emerges
#
# Each start of the ascent is faint noise, the same for all networks:

# %% tags=["training"] mystnb={"figure": {"name": "fig-emergence", "caption": "The image of the class salt after some numbers of steps, first start."}, "image": {"alt": "A strip of small images for each network, from noise at step 0 to the final image."}}
steps = ascents["segmentation", seed].snapshots
emerging = {
    title: torch.stack(
        [
            tensors[entry, seed][f"snapshots.{step}"][len(am_seeds), 0]
            for step in steps
        ]
    ).numpy()
    for entry, title in titles.items()
}
fig = plotting.plot_image_grid(
    emerging, column_titles=[f"step {step}" for step in steps]
)
# %% [markdown]
# How far the logit has come by then:

# %% tags=["training"] mystnb={"figure": {"name": "fig-ascent", "caption": "Logit of the class salt before each step, of the moved image, first seed; a line for each start, thick: their median."}, "image": {"alt": "The logit against the step: for each network a bundle of thin curves, one a start, about a thick one."}}
histories = {
    title: tensors[entry, seed]["history"][len(am_seeds) :].numpy()
    for entry, title in titles.items()
}
fig = plotting.plot_histories(
    {"class salt": histories}, ylabel="objective (logit)"
)
# %% [markdown]
# ### What can be measured
#
# {numref}`fig-am-measures` puts numbers on these pictures, all seeds together, and compares them with
# the controls.
#
# - *Contour sharpness*: how steep the image is along the contour of the salt that the judge finds,
#   over how steep it is on average. One means that the contour does not stand out, zero that there is
#   none.
# - *Salt bodies*: how many of them the judge finds.
# - *Noise*: by how much the spectrum exceeds that of the data, above the band of the data.
# - *Spectral distance* to the data, over all frequencies and either way.
# - *Gradient sparsity*: one for a single edge, zero for an even slope.
# - *Nearest data patch*: distance in the network's own latent representation to the most similar
#   unseen patch, over the distance that unseen patches have from each other.

# %%
groups = titles | {"naive": "(a) naive", "robust": "(a) pixels, robust"}
controls = "patches of " + measured["class"]
every = pd.concat(
    [
        images.assign(group=images["entry"].map(groups)),
        measured.assign(group=controls, seed=seed),
    ]
)
page.save(measures=every)

# %% [markdown]
# Of this table, the images of the class salt and, as controls, unseen patches of both classes:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-measures", "caption": "Measures of the images of class salt: dots are images of all seeds, bars their means. At the bottom unseen patches of both classes, of the first seed."}, "image": {"alt": "Six diagrams of dots, one a measure, with a row for each network, for pixels with and without robustness, and for unseen patches of background and of salt."}}
shown = [
    "sharpness",
    "bodies",
    "noise_db",
    "spectral_distance_db",
    "sparsity",
    "nearest",
]
salt = every[(every["class"] == "salt") | every["group"].isin(controls)]
fig = plotting.plot_measures(salt, shown)
# %% [markdown]
# ## The claims
#
# What the thesis reads off its Figure 3 was put into measures, directions and margins before the
# first full run, and no result changes them; {doc}`../notation` states the rule. A network is one
# observation: its images are averaged first. With fewer than three seeds every claim stays
# undecided.
#
# First, whether patches near the threshold are harder, for the segmentation encoders:

# %%
NEAR = 0.1  # fraction of salt up to which a patch is near the threshold
predicted = pd.concat(
    load_predictions(run).assign(seed=run.task.seed)
    for run in networks
    if run.task.initialisation == "segmentation"
)
distance = (predicted["fraction"] - label_threshold).abs()
predicted["entry"] = np.where(distance <= NEAR, "near", "far")
accuracy = predicted.groupby(["entry", "seed"])["correct"].mean()
near = accuracy.rename("accuracy").reset_index()

# %% [markdown]
# Then the images of the class salt, averaged for every network:

# %%
made = images[images["class"] == "salt"]
one_body = (made["bodies"] == 1).astype(float).where(made["bodies"].notna())
by_network = made.assign(one_body=one_body).groupby(
    ["entry", "seed"], sort=False
)
averaged = ["value", "probability", *shown, "one_body"]
am_scores = by_network[averaged].mean().reset_index()
page.save(scores=am_scores)

# %% [markdown]
# Both decide about claims:

# %%
decisions = [
    *page.decide("classification", near),
    *page.decide("maximization", am_scores),
]

# %% [markdown]
# ```{csv-table} The thesis' claims about classifiers and activation maximization, tested on the data of this page.
# :file: ../results/03_activation_maximization/claims.csv
# :header-rows: 1
# :name: tab-am-claims
# ```

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-effects", "caption": "Effect of every claim: mean over seeds with its one-sided 95 % bounds. Right of zero speaks for the claim; the grey band is the margin, within which differences do not matter."}, "image": {"alt": "Forest plot with a panel per claim: a dot for the mean and a bar for its bounds, around a vertical line at zero."}}
fig = plotting.plot_effects(effect_table(decisions))
# %% [markdown]
# ## Check
#
# Whatever was found again or computed on another device: the logits that are reported have to be
# those that the networks give the images.

# %%
kinds = np.repeat([0, 1], len(am_seeds))
for run in networks:
    key = run.task.initialisation, run.task.seed
    with torch.no_grad():
        logits = load_classifier(run)(tensors[key]["images"]).numpy()
    again = logits[np.arange(len(kinds)), kinds]
    reported = study.tabulate([found[key]], rows="images")["value"]
    assert np.allclose(again, reported, rtol=1e-2, atol=1e-2)

# %% [markdown]
# The numbers in the text come from here:

# %% tags=["nbval-ignore-output"]
means = am_scores.groupby("entry")[["sharpness", "one_body"]].mean()
means.loc["data"] = measured[measured["class"] == "salt"].mean(
    numeric_only=True
)
sharpness = means["sharpness"].map("{:.2f}".format, na_action="ignore")
one_body = means["one_body"].map("{:.0%}".format, na_action="ignore")
accuracies = by_initialisation["balanced_accuracy"].mean().map("{:.1%}".format)
page.tell(
    **accuracies.add_prefix("accuracy_"),
    **sharpness.fillna("an unknown number of").add_prefix("sharpness_"),
    one_body=one_body.fillna("an unknown fraction")["segmentation"],
    **count_verdicts(decisions),
)
page.close()

# %% [markdown]
# ## Summary
#
# - A segmentation network becomes a classifier by a new head; a network from scratch and an
#   untrained one show what of its images is owed to segmentation, and what to training at all.
# - An image that maximizes a class is no picture of what the network knows: it depends on how the
#   image is written and moved, so every claim about it is tested with a measure, with controls and
#   with several starts.
# - Where a network looks at when it is shown a patch is another question, that of
#   {doc}`class activation maps <05_class_activation>`; {doc}`06_landmass` has the images of four
#   classes.
#
# {doc}`The next chapter <04_network_inversion>` asks the opposite question: not what a network wants
# to see, but what it keeps of what it saw.
