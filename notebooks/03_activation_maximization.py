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
# **In short.** An image that excites a class most shows what the network takes for typical of it, and
# not everything that it knows. Images for the class *salt*, written with the spectrum of the data, are shown
# to an independent network. {glue:text}`body_words` The contours of salt that it finds in the images of the
# network that took over a segmentation encoder are {glue:text}`sharper_words` those in the images of the
# network that was trained from scratch.
#
# How sure is that? {glue:text}`admitted_words` And such images need not be processed as data are: in the
# deepest block of the first network they take {glue:text}`path_words`. Of the thesis' claims about all this, supported: {glue:text}`n_supported`,
# supported but failing their check: {glue:text}`n_failing`, tied: {glue:text}`n_tied`, contradicted:
# {glue:text}`n_contradicted`, open: {glue:text}`n_open` ({numref}`tab-am-claims`).
#
# ```{head-figure} fig-am-salt
# ```
#
# What can be set: the loss whose networks are explained and how long they are trained, the patches and
# their classes, the budget of the classifiers, and the steps and starts of the ascent.

# %% tags=["parameters", "hide-cell"]
loss_study: str = "results/smoke/02_loss_study/networks.json"  # of chapter 2
loss: str = "dice"  # the loss whose networks lend their encoders
seeds: list[int] | None = None  # of the networks; None: as in chapter 2
shape: list[int] | None = None  # of the earths; None: as in chapter 2
patch: int | None = None  # side of the patches, in samples; None: as there
stride: int | None = None  # step between patches; None: as there
encoder_epochs: int | None = None  # of the segmentation networks; as there
encoder_patches: int | None = None  # that they see per epoch; as there
n_test_volumes: int | None = None  # unseen earths per seed; as there
label_threshold: float = 0.2  # fraction of salt above which a patch is salt
n_train_patches: int = 96  # of the volumes trained on, per seed
n_test_patches: int = 96  # of the unseen volumes
epochs: int = 1  # of the classifiers
lr: float = 0.001  # peak of the one-cycle learning rate
encoder_lr_ratio: float = 0.1  # of it, for an encoder that is taken over
batch_size: int = 16  # patches per step
am_seeds: list[int] = [0, 1]  # starts of the ascent; background: half of them
am_steps: int = 8  # steps of the ascent
am_lr: float = 0.05  # their learning rate
am_precision: str = "32-true"  # of the ascent
n_data: int = 8  # unseen patches per class that are measured
precision: str = "32-true"  # "auto": bf16 where hardware is good at it
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/03_activation_maximization"  # results go

# %% [markdown]
# The library supplies networks, ascents and measures; `page` keeps what this chapter computes.

# %% tags=["hide-cell"]
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from thesis_lib import chapters, plotting, study, xai
from thesis_lib.patches import SaltPatches
from thesis_lib.patching import zscore
from thesis_lib.study.claim_tables import (
    MEASURE_NAMES,
    count_verdicts,
    effect_table,
)
from thesis_lib.study.claims import MIN_AUC
from thesis_lib.study.classification import load_classifier, load_predictions
from thesis_lib.study.judging import pick_judge
from thesis_lib.study.records import has_weights
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
# initialise such a network, and two controls:
#
# - **(a) segmentation encoder**: the encoder of a network of {doc}`the loss study <02_loss_study>`
#   (trained with the loss `loss`), without its decoder. The new head learns at the full rate, the
#   encoder at a small fraction of it.
# - **(b) classifier from scratch**: the same network from random weights, trained for as many steps as
#   the segmentation network and its classifier together.
# - **frozen**: as (a), but the encoder stays exactly as it is and only the head learns.
# - **untrained**: random weights that stay, with the statistics of batch normalisation taken from
#   the data. What it shows as well is owed to the architecture, not to anything learned.
#
# All see patches of the volumes that the loss study trained on, and are scored on unseen ones. The
# encoder of (a) has seen those volumes before, with their masks: that is what is asked about, and no
# fair race to an accuracy.
#
# So the networks of the loss study are the start, those of one loss. This chapter may train them longer
# and on larger patches than a comparison of all losses can afford:

# %%
scored = study.read_tasks(page.find(loss_study))
trained = [score.network for score in scored]
network = trained[0]
given = {
    "patch": None if patch is None else (patch, patch),
    "stride": None if stride is None else (stride, stride),
    "n_patches": encoder_patches,
}
if shape is not None:
    given["data"] = replace(network.data, shape=tuple(shape))
if encoder_epochs is not None:
    given["train"] = replace(network.train, epochs=encoder_epochs)
network = replace(
    network, **{key: value for key, value in given.items() if value is not None}
)
seeds = (
    list(dict.fromkeys(each.seed for each in trained))
    if seeds is None
    else seeds
)
encoders = study.grid(network, loss=[loss], seed=seeds)

# %% [markdown]
# The patches are cut from its volumes:

# %%
patches = SaltPatches(
    data=network.data,
    patch=network.patch,
    stride=network.stride,
    axes=network.axes,
    threshold=label_threshold,
    n_train=n_train_patches,
    n_test=n_test_patches,
    n_earths=n_test_volumes or scored[0].n_earths,
)

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
# Each seed has four of them:

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
networks = page.run(tasks, partial=True)
page.save(classifiers=[run.task for run in networks])
seeds = [
    seed
    for seed in seeds
    if sum(run.task.seed == seed for run in networks)
    == len(tasks) // len(encoders)
]
seed = seeds[0]
unseen = patches.test(seed)

# %% [markdown]
# Whether they have learned what there is to learn is seen from their histories:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-training", "caption": "Training of the networks that are explained, epoch by epoch; a line for each seed, thick: their median. Left: loss of the segmentation networks. Middle: their Dice score on an earth that is held out. Right: loss of the classifiers."}, "image": {"alt": "Three panels of curves against the epoch: the falling training loss of the segmentation networks, their Dice score on a held-out earth, and the falling loss of the classifiers."}}
panels = {
    "train_loss": "segmentation: loss",
    "validation_dice": "segmentation: Dice",
    "classifier": "classifiers: loss",
}
histories = {}
for run in networks:
    title = titles.get(run.task.initialisation)
    if run.task.initialisation == "segmentation":
        history = run.parents["segmentation"].history
        for column in history.columns.intersection([*panels]):
            panel = histories.setdefault(panels[column], {})
            panel.setdefault(title, []).append(history[column])
    if title and run.task.initialisation != "untrained":
        panel = histories.setdefault(panels["classifier"], {})
        panel.setdefault(title, []).append(run.history["train_loss"])
stacked = {
    panel: {title: np.stack(curves) for title, curves in part.items()}
    for panel, part in histories.items()
}
fig = plotting.plot_histories(
    stacked, ylabel="value", xlabel="epoch", share_y=False
)
# %% [markdown]
# All networks of a seed are scored on the same unseen patches. Accuracy depends on where the probability
# is cut: at one half, or at the *chosen* threshold, which is best for patches of an earth that is held
# out and is chosen for all routes alike. The area under the curve (AUC) does not depend on it.

# %%
columns = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy at 0.5",
    "balanced_accuracy_chosen": "Balanced accuracy, chosen",
    "threshold": "Chosen threshold",
    "auc": "AUC",
}
scores = study.tabulate(networks, initialisation="initialisation", seed="seed")
by_initialisation = scores.groupby("initialisation", sort=False)
table = by_initialisation[[*columns]].agg(format_cell, digits=3)
table = table.rename(index=titles, columns=columns).rename_axis("Network")
page.save(classifiers=scores, classifiers_table=table)

# %% [markdown]
# ```{csv-table} The classifiers and the controls on patches of the unseen volumes. With several seeds: mean ± half of its 95 % interval.
# :file: ../results/03_activation_maximization/classifiers_table.csv
# :header-rows: 1
# :name: tab-classifiers
# ```
#
# Accuracy alone flatters whoever always answers *background*; the balanced accuracy is the mean over
# the classes.
#
# ## Patches near the threshold
#
# There is no gap between the classes: a patch with a little less salt than the threshold is
# background, one with a little more is salt. The thesis calls such patches ambiguous. Two things make
# them hard, and only one of them is ambiguity. A network may not tell the two sides apart at all: then
# its AUC among these patches is low, wherever the probability is cut. Or it may order them well, and
# only cut at the wrong place: a *bias*, which a chosen threshold mends.

# %%
NEAR = 0.1  # fraction of salt up to which a patch is near the threshold
of_encoders = [r for r in networks if r.task.initialisation == "segmentation"]
predicted = pd.concat(
    load_predictions(run).assign(
        seed=run.task.seed, threshold=run.scores["threshold"]
    )
    for run in of_encoders
)
distance = predicted["fraction"] - label_threshold
predicted["entry"] = np.where(distance.abs() <= NEAR, "near", "far")
predicted["side"] = np.where(distance > 0, "above", "below")
called = predicted["salt"] > predicted["threshold"].astype(float)
predicted["chosen"] = (called == predicted["label"]).where(
    predicted["threshold"].notna()
)

# %% [markdown]
# The AUC within each group, seed by seed, and how often the networks are right on either side:

# %%
rows = []
for (entry, number), part in predicted.groupby(["entry", "seed"]):
    above, below = (
        torch.tensor(part.loc[part["side"] == side, "salt"].tolist())
        for side in ("above", "below")
    )
    area = xai.measures.area_under_curve(above, below)
    rows.append({"entry": entry, "seed": number, "auc": area})
near = pd.DataFrame(rows)
sides = predicted.groupby(["entry", "side"])[["correct", "chosen"]]
right = (
    sides.mean()
    .astype(float)
    .join(near.groupby("entry")["auc"].mean(), on="entry")
)
right = right.rename(
    columns={
        "correct": "Right at 0.5",
        "chosen": "Right at the chosen threshold",
        "auc": "AUC of the two sides",
    }
).rename_axis(["Distance to the threshold", "Side"])
page.save(near=near, near_table=right.round(3))

# %% [markdown]
# ```{csv-table} How often (a) is right on unseen patches near the threshold and far from it, on either side of it, and the AUC with which it tells the two sides apart.
# :file: ../results/03_activation_maximization/near_table.csv
# :header-rows: 1
# :name: tab-near
# ```

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
# a reader. Three remedies are used here.
#
# - *Transformation robustness*: at each step the image is shifted, enlarged and turned a little, so that
#   only what survives that is found {cite}`olah2017feature`. Images are never flipped: depth and dip
#   have a meaning.
# - *Fourier*: the image is written as Fourier coefficients, so that a step changes what is smooth more
#   than what is rough.
# - *Phase*: only the phases of the coefficients are free; the magnitudes stay those of the data
#   {cite}`fel2023unlocking`. Whatever the image then shows, it is shown in the frequencies of the data.
#   This is the main way here.
#
# Pixels that are neither moved nor written in another way are called *naive*.
#
# The neuron is the logit of a class, or the margin by which it exceeds the other one. Its probability is
# no measure: in a trained network an ascent soon drives it to one, whatever the image looks like.
#
# Images are judged by what does not depend on the network that made them. A *judge*, a segmentation
# network that had another seed (with a single seed: another loss), finds the salt in them; and they are
# compared with *data*, the unseen patches.

# %%
candidates = [*encoders, *(each for each in trained if each.seed in seeds)]
judges = {each.seed: pick_judge(candidates, each) for each in encoders}

# %% [markdown]
# An ascent is a task as well, with a classifier and its judge as parents. Each network maximizes both
# classes:

# %%
few = tuple(am_seeds[: -(-len(am_seeds) // 2)])
starts_of = {"background": few, "salt": tuple(am_seeds)}
ascents = {
    (task.initialisation, name, task.seed): study.Maximize(
        task,
        judges[task.seed],
        starts,
        classes=(number,),
        steps=am_steps,
        lr=am_lr,
        precision=am_precision,
    )
    for task in tasks
    if task.initialisation in titles and task.seed in seeds
    for number, (name, starts) in enumerate(starts_of.items())
}

# %% [markdown]
# To see what robustness alone does, the class *salt* of the segmentation encoder is maximized twice more,
# pixel by pixel: naively, and with the movements. For the first seeds the margin and the Fourier
# coefficients are tried as well.

# %%
variants = {"margin": {"objective": "margin"}, "fourier": {"image": "fourier"}}
for number in seeds:
    pixels = replace(
        ascents["segmentation", "salt", number], image="pixels", am_seeds=few
    )
    ascents["robust", "salt", number] = pixels
    ascents["naive", "salt", number] = replace(pixels, robust=False)
    for name in ("segmentation", "classification"):
        for variant, how in variants.items() if number in seeds[:2] else ():
            ascents[f"{name} {variant}", "salt", number] = replace(
                ascents[name, "salt", number], am_seeds=few, **how
            )

# %% [markdown]
# Data are measured by the same measures, in the same words:

# %%
controls = [
    study.MeasureData(
        ascents["untrained", "salt", number].network, judges[number], n_data
    )
    for number in seeds
]

# %% [markdown]
# The images of every ascent are found again or made now, seed by seed:

# %% tags=["nbval-ignore-output"]
wanted = sorted(
    [*ascents.values(), *controls],
    key=lambda task: seeds.index(task.network.seed),
)
outcomes = {run.task.key: run for run in page.run(wanted, partial=True)}
found = {
    key: outcomes[task.key]
    for key, task in ascents.items()
    if task.key in outcomes
}
tensors = {key: run.load_tensors("images") for key, run in found.items()}
done = [each for each in seeds if ("segmentation", "salt", each) in found]
if not done:
    raise ValueError("No ascent has finished. Must be those of a seed.")
seed = done[0]
unseen = patches.test(seed)
measured = [outcomes[task.key] for task in controls if task.key in outcomes]

# %% [markdown]
# Each image is one row of a table of measures, and so is each patch that was measured:

# %%
images = pd.concat(
    study.tabulate([run], rows="images").assign(entry=entry, seed=number)
    for (entry, _, number), run in found.items()
)
of_data = study.tabulate(measured, rows="images", seed="network.seed")

# %% [markdown]
# ### The class salt
#
# {numref}`fig-am-salt` is made after Figure 3 of the thesis: images of the segmentation encoder (a) and
# of the classifier from scratch (b), from several starts. Below them is what they are to be judged by: a
# network that learned nothing, the unseen patches that the network of (a) takes for most similar to its
# images, each of them once, and other unseen patches of salt.
#
# What to look for: inside, salt of these earths has no layers, only weak dips that cross each other, where
# migration left noise. Around it are layers, and its boundary is bright. So a *body* is a region of crossed
# or dull texture at which reflectors end, and the better its contour can be followed, the sharper it is.
# Reflectors that run from one side to the other are layers and no body, however bright.


# %%
def pick_images(*key, n=4):
    """First images of an ascent; none where it was not run."""
    made = tensors.get(key, {}).get("images", torch.empty(0, 1, *network.patch))
    return made[:n, 0].numpy()


def collect_rows(name):
    """Images of a class of all networks, with the controls."""
    rows = {
        title: pick_images(entry, name, seed) for entry, title in titles.items()
    }
    made = images[(images["seed"] == seed) & (images["class"] == name)]
    nearest = made.loc[made["entry"] == "segmentation", "nearest_patch"]
    chosen = of_data[(of_data["seed"] == seed) & (of_data["class"] == name)]
    others = chosen.loc[~chosen["patch"].isin(nearest), "patch"]
    for label, part in (("nearest to (a)", nearest), (f"of {name}", others)):
        shown = [int(row) for row in part[: min(4, len(starts_of[name]))]]
        rows[f"patches {label}"] = unseen.tensors()[shown, 0].numpy()
    return rows


# %% [markdown]
# The first starts of the first seed:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-salt", "caption": "After Figure 3 of the thesis: images that maximize the logit of class salt, written with the spectrum of the data, (a) for the segmentation encoder and (b) for the classifier from scratch, with controls; first seed, a column for each start of the ascent."}, "image": {"alt": "Rows of grey images: what excites the class salt of the segmentation encoder, of the classifier from scratch and of an untrained network, then distinct unseen patches that are nearest to those of the segmentation encoder, and other unseen patches of salt."}}
starts = [f"start {start}" for start in am_seeds[:4]]
fig = plotting.plot_image_grid(collect_rows("salt"), column_titles=starts)
# %% [markdown]
# In these images the judge sees, over all seeds and starts:
#
# - (a) segmentation encoder: {glue:text}`row_words_segmentation`;
# - (b) classifier from scratch: {glue:text}`row_words_classification`;
# - untrained network: {glue:text}`row_words_untrained`;
# - unseen patches of salt: {glue:text}`row_words_data`.
#
# {glue:text}`body_words`
#
# ### Other ways to write the image
#
# {numref}`fig-am-others` has the same class with another objective or another image. The margin has to
# make salt more likely *than background*, where the logit may rise by what excites both. Fourier
# coefficients may take any magnitude, and pixels anything at all: what these rows show beyond
# {numref}`fig-am-salt` are frequencies that data do not have.

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-others", "caption": "Images that maximize class salt in other ways, for the first seeds: by the margin to class background (phases), by its logit with Fourier coefficients, and with pixels, moved at each step (robust) or not (naive)."}, "image": {"alt": "Rows of grey images for two seeds: margin and Fourier images of both networks, then images of pixels of the segmentation encoder with and without random movements."}}
ways = {
    "segmentation margin": "(a) margin",
    "classification margin": "(b) margin",
    "segmentation fourier": "(a) Fourier",
    "classification fourier": "(b) Fourier",
    "robust": "(a) pixels, robust",
    "naive": "(a) pixels, naive",
}
rows = {
    title: np.concatenate(
        [pick_images(entry, "salt", number, n=2) for number in done[:2]]
    )
    for entry, title in ways.items()
}
columns = [
    f"seed {number}, start {start}"
    for number in done[:2]
    for start in am_seeds[: min(2, len(few))]
]
fig = plotting.plot_image_grid(rows, column_titles=columns)
# %% [markdown]
# ### The class background
#
# The same networks, asked for the opposite. Here layers are what is to be expected, and the absence of a
# body:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-background", "caption": "Images that maximize the logit of class background, with the same controls; first seed."}, "image": {"alt": "Rows of grey images that excite the class background of each network, the nearest unseen patches, and unseen patches of background."}}
fig = plotting.plot_image_grid(collect_rows("background"))
# %% [markdown]
# ### Has the ascent arrived?
#
# Each start is noise, the same for all networks. How far the logit has come after each step:

# %% tags=["training"] mystnb={"figure": {"name": "fig-ascent", "caption": "Logit of the class salt before each step, of the moved image, first seed; a line for each start, thick: their median."}, "image": {"alt": "The logit against the step: for each network a bundle of thin curves, one a start, about a thick one."}}
ascending = {
    title: tensors[entry, "salt", seed]["history"].numpy()
    for entry, title in titles.items()
    if (entry, "salt", seed) in tensors
}
fig = plotting.plot_histories(
    {"class salt": ascending}, ylabel="objective (logit)"
)
# %% [markdown]
# How an image comes about: each network climbs again from its first start, and what it has found is kept
# on the way, ever more rarely.

# %% tags=["nbval-ignore-output"]
films = page.run(
    [
        study.Film(found[entry, "salt", seed].task)
        for entry in titles
        if (entry, "salt", seed) in found
    ],
    partial=True,
)

# %% [markdown]
# Each frame has its step, and the logit of its image:

# %% tags=["nbval-ignore-output"]
moving, below = {}, {}
for film in films:
    title = titles[film.task.ascent.network.initialisation]
    moving[title] = film.load_tensors("film")["images"][:, 0].numpy()
    steps = film.scores["frames"]
    below[title] = [f"logit {step['value']:.1f}" for step in steps]
    frames = [f"step {step['step']}" for step in steps]
if films:
    film = plotting.make_film(
        moving, frames=frames, captions=below, n_columns=3
    )
    page.save(ascent=film)

# %% [markdown]
# ```{film} ../results/03_activation_maximization/ascent.json
# :title: Step through an ascent
#
# Images of class salt after more and more steps, from the first start of the first seed, and their logits.
# Rounded otherwise than the ascents of {numref}`fig-am-salt`, these end close to its first column, not at it.
# ```

# %% [markdown]
# ## Do such images take the path of data?
#
# A network may be excited by an image in a way that has nothing to do with how it treats data. Geirhos
# and others ask whether both take the same path through its layers {cite}`geirhos2023trust`. Let $a$ be
# the activations of a layer, averaged over the patch as the head reads them, centred between the classes
# and each channel divided by its standard deviation. With $s(x, C)$ the mean cosine between $a(x)$ and
# the $a$ of data of class $C$, the similarity of an image of class $C$ is
#
# $$
# \frac{s(x, C) - \bar s(\bar C, C)}{\bar s(C, C) - \bar s(\bar C, C)},
# $$
#
# where $\bar s(C, C)$ is the mean for other data of the class and $\bar s(\bar C, C)$ for data of the
# other class. So one is as similar as data of the class and zero as similar as data of the other; more
# than one exaggerates the class.

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-paths", "caption": "Similarity of the path of the images of {numref}`fig-am-salt` and {numref}`fig-am-background` to that of data of their class, layer by layer; a line for each seed, thick: their median. Layer 0 is the stem, 1 to 4 are the blocks."}, "image": {"alt": "Two panels, one for each class: similarity against the layer, a line for each network, with a dashed line at one, data of the class, and a dash-dotted one at zero, data of the other class."}}
paths = pd.concat(
    study.tabulate([run], rows="paths").assign(entry=entry, seed=number)
    for (entry, _, number), run in found.items()
    if entry in titles
)
curves = {
    f"class {name}": {
        titles[entry]: np.stack(
            [each["similarity"] for _, each in part.groupby("seed")]
        )
        for entry, part in of_class.groupby("entry", sort=False)
    }
    for name, of_class in paths.groupby("class", sort=False)
}
fig = plotting.plot_histories(
    curves,
    ylabel="similarity of the path",
    xlabel="layer (0: stem, 1 to 4: blocks)",
    levels={"data of the class": 1.0, "data of the other class": 0.0},
)
page.save(paths=paths)
# %% [markdown]
# ## Which measures may decide
#
# A measure may decide a claim only if it tells known things apart, on unseen earths. It is *admitted*
# where the area under its ROC curve reaches the required value (`MIN_AUC`), averaged over the seeds, and
# *retired* otherwise; a claim on a retired measure reads *no valid measure found*.
#
# - *Sharpness*: how much brighter the image is along the contour that the judge finds than a few pixels
#   away from it, in dB. Where the judge finds no contour there is no sharpness, and that is counted on
#   its own. Known things: the judge's contours in patches of salt, against the same contours laid over
#   patches without any.
# - *Body*: whether the salt that the judge sees is one connected body which fills neither almost nothing
#   nor almost everything. Known things: patches that truly hold one, against patches without salt.
# - *Recognised*: whether the judge puts the image into the class that it was made for. Known things:
#   patches of salt against patches without any.
# - *Noise*: by how much the spectrum exceeds that of the data above their band, in dB. Known things:
#   data with weak white noise, against the data.
# - *Deficit*: what the spectrum lacks within the band, in dB. Known things: data without the upper half
#   of their band, against the data.

# %%
known = {
    "sharpness": "the judge's contours, in salt or laid over no salt",
    "body": "one true body, or no salt",
    "recognised": "salt, or no salt",
    "noise_db": "data with noise, or data",
    "deficit_db": "low-passed data, or data",
}
admissions = study.tabulate(measured, rows="admissions", seed="network.seed")
areas = admissions.groupby("measure")["auc"].mean().reindex([*known])
admitted = pd.DataFrame(
    {
        "Measure": [MEASURE_NAMES[m] for m in known],
        "Has to tell apart": known.values(),
        "AUC": [
            format_cell(
                admissions.loc[admissions["measure"] == m, "auc"], digits=3
            )
            for m in known
        ],
        "Verdict": np.where(areas >= MIN_AUC, "admitted", "retired"),
    }
)
page.save(admissions=admissions, admissions_table=admitted)

# %% [markdown]
# ```{csv-table} Measures of images and how well they tell known things apart on unseen data. With several seeds: mean ± half of its 95 % interval.
# :file: ../results/03_activation_maximization/admissions_table.csv
# :header-rows: 1
# :name: tab-am-admissions
# ```
#
# ### What they say
#
# A network is one observation: its images of class salt are averaged first (*recognised* over those of
# both classes). {numref}`tab-am-measures` has the means over seeds, and for comparison those of unseen
# patches.

# %%
names = titles | {"robust": "(a) pixels, robust", "naive": "(a) pixels, naive"}
averaged = ["contour", *known]
both = images.groupby(["entry", "seed", "class"], sort=False)[averaged].mean()
am_scores = both.xs("salt", level="class").drop(columns="recognised")
am_scores["recognised"] = both["recognised"].groupby(["entry", "seed"]).mean()
made = am_scores.reset_index()
lacking = am_scores["deficit_db"].unstack("entry")
lacking = lacking.reindex(columns=["robust", "naive"])
added = (lacking["robust"] - lacking["naive"]).rename("deficit_added_db")
am_scores = made.merge(
    added.reset_index().assign(entry="robust"), how="left", on=["entry", "seed"]
)
page.save(scores=am_scores)

# %% [markdown]
# The table, with patches of data as its last rows:

# %%
data_scores = of_data.groupby(["class", "seed"])[averaged].mean().reset_index()
data_scores["entry"] = "data: " + data_scores["class"]
shown = pd.concat([am_scores, data_scores])
labels = names | {name: name for name in data_scores["entry"]}
shown = shown[shown["entry"].isin(labels)]
cells = shown.groupby("entry", sort=False)[averaged].agg(format_cell, digits=2)
cells = cells.rename(index=labels).rename_axis("Images")
cells.columns = [MEASURE_NAMES[m] for m in averaged]
page.save(measures_table=cells, measures=images)

# %% [markdown]
# ```{csv-table} Measures of the images of class salt, averaged over starts, and of unseen patches. Contour, body and recognised are fractions of images. With several seeds: mean ± half of its 95 % interval; a dash: unknown for one of the seeds.
# :file: ../results/03_activation_maximization/measures_table.csv
# :header-rows: 1
# :name: tab-am-measures
# ```

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-measures", "caption": "Measures in dB of the images of class salt: dots are images of all seeds, bars their means. At the bottom unseen patches of both classes."}, "image": {"alt": "Three diagrams of dots, sharpness, noise and deficit, with a row for each network, for pixels with and without robustness, and for unseen patches of background and of salt."}}
of_salt = images[(images["class"] == "salt") & images["entry"].isin(names)]
every = pd.concat(
    [
        of_salt.assign(group=of_salt["entry"].map(names)),
        of_data.assign(group="data: " + of_data["class"]),
    ]
)
fig = plotting.plot_measures(every, ["sharpness", "noise_db", "deficit_db"])
# %% [markdown]
# ## The claims
#
# What the thesis reads off its Figure 3 was put into measures, directions and margins before the
# first full run, and no result changes them; {doc}`../notation` states the rule. With fewer than three
# seeds every claim stays undecided.

# %%
areas["deficit_added_db"] = areas["deficit_db"]
decisions = [
    *page.decide("classification", near),
    *page.decide("maximization", am_scores, admissions=areas.to_dict()),
]

# %% [markdown]
# ```{csv-table} The thesis' claims about classifiers and activation maximization, tested on the data of this page.
# :file: ../results/03_activation_maximization/claims.csv
# :header-rows: 1
# :name: tab-am-claims
# ```

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-effects", "caption": "Effect of every claim in units of its margin: mean over seeds with its one-sided 95 % bounds. Right of zero speaks for the claim; within the grey band differences do not matter, and beyond it the axis is logarithmic."}, "image": {"alt": "Forest plot, one claim below the other with its verdict: a dot for the mean and a bar for its bounds, around a vertical line at zero."}}
fig = plotting.plot_forest(effect_table(decisions))
# %% [markdown]
# ## Check
#
# Whatever was found again or computed on another device: the logits that are reported have to be
# those that the networks give the images. (Where a run is a record without weights, it is left to the
# machine that made it.)

# %%
for entry, name, number in found:
    run = found[entry, name, number].parents.get("network")
    if entry not in titles or run is None or not has_weights(run):
        continue
    with torch.no_grad():
        logits = load_classifier(run)(tensors[entry, name, number]["images"])
    reported = found[entry, name, number].scores["images"]
    again = logits[:, unseen.classes.index(name)]
    values = torch.tensor([image["value"] for image in reported])
    assert torch.allclose(again, values, rtol=3e-2, atol=3e-2)

# %% [markdown]
# The words of the text come from here:


# %% tags=["nbval-ignore-output"]
def say_bodies(fractions):
    """How often one body is seen in which images, where that is known."""
    if fractions.isna().all():
        return (
            "Whether they hold one body is not known: what counts bodies does "
            "not tell known patches apart."
        )
    known = fractions.dropna().items()
    parts = [f"{each:.0%} of {titles[n]}" for n, each in known]
    return f"It finds one body in {', '.join(parts)}."


def say_row(row):
    """What the judge finds in a row of images."""
    if np.isnan(row["contour"]):
        return "nothing, since no ascent has finished"
    found = f"salt with a contour in {row['contour']:.0%}"
    if np.isnan(row["sharpness"]):
        return found
    return f"{found}, {row['sharpness']:.1f} dB above what is next to it"


def say_path(similarity):
    """Whose path images take through the deepest block."""
    words = ["another path than data do", "about the path of data"]
    words += ["the path of data, and exaggerate it"]
    return words[np.digitize(similarity, [0.5, 1.5])]


valid = areas >= MIN_AUC
columns = ["contour", "sharpness", "body"]
means = am_scores.groupby("entry")[columns].mean()
means.loc["data"] = of_data.loc[
    of_data["class"] == "salt", means.columns
].mean()
means = means.reindex([*titles, "data"])
means[columns[1:]] = means[columns[1:]].where(valid[columns[1:]], axis=1)
gap = means.loc["segmentation", "sharpness"]
gap -= means.loc["classification", "sharpness"]
retired = [MEASURE_NAMES[m] for m in known if not valid[m]]
deep = paths[paths["layer"].eq("block4") & paths["entry"].eq("segmentation")]
page.tell(
    **means.apply(say_row, axis=1).add_prefix("row_words_"),
    body_words=say_bodies(means["body"].drop("data")),
    sharper_words=(
        "not comparable with"
        if np.isnan(gap)
        else "about as sharp as"
        if abs(gap) < 1
        else "sharper than"
        if gap > 0
        else "less sharp than"
    ),
    admitted_words=(
        f"Measures that had to be retired: {', '.join(retired)}."
        if retired
        else "All measures that decide tell known things apart on unseen data."
    ),
    path_words=say_path(deep["similarity"].mean()),
    **count_verdicts(decisions),
)
page.close()

# %% [markdown]
# ## Summary
#
# - A segmentation network becomes a classifier by a new head; a network from scratch and an
#   untrained one show what of its images is owed to segmentation, and what to training at all.
# - An image that maximizes a class is no picture of what the network knows: it depends on how the
#   image is written and moved, so every claim about it is tested with a measure that was admitted
#   before, with controls and with several starts.
# - Where a network looks at when it is shown a patch is another question, that of
#   {doc}`class activation maps <05_class_activation>`; {doc}`06_landmass` has the images of four
#   classes.
#
# {doc}`The next chapter <04_network_inversion>` asks the opposite question: not what a network wants
# to see, but what it keeps of what it saw.
