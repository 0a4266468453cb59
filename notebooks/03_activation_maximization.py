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
# times for a network that was never trained; in patches of salt it is {glue:text}`sharpness_real`
# times as steep. Exactly one body is found in {glue:text}`one_body` of the images of the first. Of
# the thesis' claims about all this
# {glue:text}`n_reproduced` are reproduced here, {glue:text}`n_refuted` are not, and
# {glue:text}`n_open` stay open: {numref}`tab-am-claims`.

# %% tags=["parameters"]
loss_study: str = "results/smoke/02_loss_study/study.json"  # of chapter 2
loss: str = "dice"  # the loss whose networks lend their encoders
label_threshold: float = 0.2  # share of salt above which a patch is salt
n_train_patches: int = 192  # of the volumes trained on, per seed
n_test_patches: int = 160  # of the unseen volumes
epochs: int = 1  # of both routes
lr: float = 0.001  # peak of the one-cycle learning rate
encoder_lr_ratio: float = 0.1  # of it, for an encoder that is taken over
batch_size: int = 16  # patches per step
am_seeds: list[int] = [0, 1]  # starts of the ascent, for each class
am_steps: int = 12  # steps of the ascent
am_lr: float = 0.05  # their learning rate
n_real: int = 8  # real patches per class that are measured
n_cams: int = 4  # patches whose activation maps are shown
landmass: str | None = None  # folder of LANDMASS; none: patches of earths
release: int = 1  # of LANDMASS
blocks: list[int] = [0]  # of LANDMASS to test on, out of 0 to 4
n_dropped: int = 40  # images left out on either side of a block
class_preset: str = "gulf"  # of the earths, without LANDMASS
class_shape: list[int] = [16, 96, 128]  # of each of them
n_per_class: int = 12  # patches of them, per class, to train on
class_epochs: int = 2  # of both routes on four classes
class_am_seeds: list[int] = [0]  # starts of their ascents
precision: str = "32-true"  # "auto": bf16 where hardware is good at it
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/03_activation_maximization"  # results go

# %%
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from myst_nb import glue

from thesis_lib import chapters, plotting, study, xai
from thesis_lib.data import split_blocks
from thesis_lib.training import TrainConfig
from thesis_lib.xai.cam import randomize_cascade, split_energy, trace_curves

results = chapters.open_results("03_activation_maximization", globals())
root = chapters.project_root() / runs_dir
titles = {
    "segmentation": "(a) segmentation encoder",
    "classification": "(b) classifier from scratch",
    "untrained": "untrained network",
}

# %% [markdown]
# ## Two ways to a classifier
#
# A segmentation network answers with an image: no neuron of it stands for *salt*. The thesis
# therefore makes classifiers. A patch is called *salt* when more than the share `label_threshold`
# of it is salt. Each channel of the four blocks of the encoder is averaged over the patch, and a
# linear layer on all these means gives one logit a class. Two routes lead to such a network, and
# a control goes neither:
#
# - **(a) segmentation encoder**: the encoder of a network (trained with the loss `loss`) of
#   {doc}`the loss study <02_loss_study>`, without its decoder. The new head learns at the full
#   rate, the encoder at a small share of it.
# - **(b) classifier from scratch**: the same network from random weights.
# - **untrained**: random weights that stay, with the statistics of batch normalisation taken from
#   the data. What it shows as well is owed to the architecture, not to anything learned.
#
# Both routes see the same patches in the same order, from the volumes that the loss study trained
# on, and are scored on its unseen volumes. The encoder of (a) has seen those volumes before, with
# their masks: that is what is asked about, and no fair race to an accuracy.

# %%
explained = study.read_loss_study(chapters.project_root() / loss_study)
seeds = explained.seeds
classifiers = study.ClassifierStudy(
    explained,
    loss=loss,
    config=study.ClassificationConfig(
        train=TrainConfig(epochs=epochs, lr=lr, precision=precision),
        encoder_lr_ratio=encoder_lr_ratio,
        batch_size=batch_size,
        encoder=explained.config.encoder,
        pretrained=explained.config.pretrained,
    ),
    threshold=label_threshold,
    n_train_patches=n_train_patches,
    n_test_patches=n_test_patches,
)
study.write_study(results / "study.json", classifiers)

# %% [markdown]
# A network that was trained before is found again; the others are trained now:

# %% tags=["nbval-ignore-output"]
networks = study.run_classifiers(classifiers, root=root)

# %% [markdown]
# All networks of a seed are scored on the same unseen patches:

# %%
scores = study.classifier_table(networks)
scores.to_csv(results / "classifiers.csv", index=False)
table = study.format_classifiers(scores)
table.to_csv(results / "classifiers_table.csv", index=False)

# %% [markdown]
# ```{csv-table} Both routes and the control on patches of the unseen volumes. With several seeds: mean ± one standard deviation.
# :file: ../results/03_activation_maximization/classifiers_table.csv
# :header-rows: 1
# :name: tab-classifiers
# ```
#
# Accuracy alone flatters whoever always says *background*. The balanced accuracy is the mean over
# the classes, the area under the curve (AUC) does not depend on where the probability is cut, and
# with a calibration error of zero, of all patches called salt with a probability $p$ a share $p$ is.
#
# There is no gap between the classes: a patch with a little less salt than the threshold is
# background, one with a little more is salt. The thesis calls such patches ambiguous, and the right
# side of {numref}`fig-accuracy` shows whether they are.

# %%
first = {run.route: run for run in networks if run.seed == seeds[0]}
routes = {titles[route]: first[route] for route in study.ROUTES[:2]}
by_confidence, by_share = (
    {name: study.bin_accuracy(run, column) for name, run in routes.items()}
    for column in ("confidence", "share")
)

# %% tags=["training"] mystnb={"figure": {"name": "fig-accuracy", "caption": "How often the classifiers are right on unseen patches, first seed: at each confidence (on the diagonal they are calibrated), and at each share of salt in the patch (dashed: the threshold). Below, the number of patches."}, "image": {"alt": "Two diagrams of accuracy: on the left against the confidence of the classifier, with a diagonal; on the right against the share of salt, with a dashed vertical line at the threshold. A line for each route."}}
fig = plotting.plot_accuracy(by_confidence, by_share, threshold=label_threshold)
# %% [markdown]
# What is taken for what:

# %% tags=["training"] mystnb={"figure": {"name": "fig-confusion", "caption": "Unseen patches by their true class (rows) and the predicted one (columns), first seed."}, "image": {"alt": "A square of four counts for each route: background and salt in truth against background and salt as predicted."}}
confusions = {
    name: np.array(run.outcome.scores["confusion"])
    for name, run in routes.items()
}
fig = plotting.plot_confusions(
    confusions, classes=first["segmentation"].classes
)
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
# Left alone, the ascent through a deep network covers the image with fine noise that tells a reader
# nothing. Two remedies are used here. The image is written as Fourier coefficients, so that a step
# changes what is smooth more than what is rough, and at each step it is shifted, enlarged and
# turned a little, so that only what survives that is found: *transformation robustness*
# {cite}`olah2017feature`. Images are never flipped: depth and dip have a meaning. Each is z-scored
# before the network sees it, as every patch was in training.
#
# The neuron is the logit of a class. Its probability is no measure: in a trained network an ascent
# soon drives it to one, whatever the image looks like.

# %%
strip = sorted({round(am_steps * share) for share in (0, 0.04, 0.15, 0.4, 1)})
ascent = study.MaximizationConfig(
    shape=explained.config.patch,
    am_seeds=tuple(am_seeds),
    classes=(0, 1),
    steps=am_steps,
    lr=am_lr,
    snapshots=tuple(strip),
    precision=precision,
)

# %% [markdown]
# Images are judged by what does not depend on the network that made them. A *segmenter*, a network
# of the loss study that had another seed (with a single seed: another loss), finds the salt in
# them; and they are held against *real* patches, those of the unseen volumes. The word tells them
# from images that an ascent made: where the volumes are synthetic earths, so are these.

# %%
real = {seed: study.load_patches(classifiers, seed=seed)[1] for seed in seeds}
segmenters = {
    seed: study.find_segmenter(classifiers, seed=seed, root=root)
    for seed in seeds
}

# %% [markdown]
# Each network maximizes both classes. To see what robustness alone does, the class *salt* of the
# segmentation encoder is maximized twice more, pixel by pixel: *naively*, and with the movements.

# %% tags=["nbval-ignore-output"]
variants = {
    "fourier": ascent,
    "naive": replace(ascent, classes=(1,), image="pixels", robust=False),
    "robust": replace(ascent, classes=(1,), image="pixels"),
}
found = {
    (name, run.route, run.seed): study.maximize_classes(
        run,
        variant,
        real=real[run.seed],
        segmenter=segmenters[run.seed],
        root=root,
    )
    for name, variant in variants.items()
    for run in networks
    if name == "fourier" or run.route == "segmentation"
}

# %% [markdown]
# The same measures of some real patches, each against the others of its class, say what data look
# like in these numbers:

# %%
measured = {
    seed: study.measure_real(
        first["segmentation"],
        real[seed],
        segmenter=segmenters[seed],
        n_per_class=n_real,
        seed=seed,
    )
    for seed in seeds[:1]
}

# %% [markdown]
# ### The class salt
#
# {numref}`fig-am-salt` is Figure 3 of the thesis: images of the segmentation encoder (a) and of the
# classifier from scratch (b), from several starts. Below them stands what they are to be judged by:
# a network that learned nothing, an ascent without any remedy, the real patches that the network of
# (a) takes for most similar to its images, and other real salt.

# %% tags=["nbval-ignore-output"]
seed = seeds[0]


def collect_rows(k):
    """Images of class k by all routes, with the controls."""
    part = slice(k * len(am_seeds), (k + 1) * len(am_seeds))
    made = {route: found["fourier", route, seed] for route in titles}
    rows = {titles[route]: made[route].images[part] for route in titles}
    patches = real[seed].tensors()
    nearest = made["segmentation"].nearest_patches[part]
    rows["nearest real patches to (a)"] = patches[nearest]
    name = real[seed].classes[k]
    table = measured[seed]
    others = table["patch"][table["class"] == name]
    rows[f"real {name}"] = patches[others.tolist()[: len(am_seeds)]]
    return {title: images[:, 0].numpy() for title, images in rows.items()}


# %% [markdown]
# The naive images of (a) stand last:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-salt", "caption": "Figure 3 of the thesis: images that maximize the class salt, (a) for the segmentation encoder and (b) for the classifier from scratch, with controls; first seed, a column for each start of the ascent."}, "image": {"alt": "Rows of small grey images: what excites the class salt of the segmentation encoder, of the classifier from scratch and of an untrained network, the nearest real patches, real salt, and a naive ascent."}}
rows = collect_rows(1)
naive = found["naive", "segmentation", seeds[0]].images[:, 0].numpy()
rows["(a) naive: pixels, no robustness"] = naive
starts = [f"start {start}" for start in am_seeds]
fig = plotting.plot_image_grid(rows, column_titles=starts)
# %% [markdown]
# ### The class background
#
# The same networks, asked for the opposite:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-background", "caption": "Images that maximize the class background, with the same controls; first seed."}, "image": {"alt": "Rows of small grey images that excite the class background of each network, the nearest real patches, and real background."}}
fig = plotting.plot_image_grid(collect_rows(0), column_titles=starts)
# %% [markdown]
# ### How an image emerges
#
# Each start of the ascent is faint noise, the same for all networks:

# %% tags=["training"] mystnb={"figure": {"name": "fig-emergence", "caption": "The image of the class salt after some numbers of steps, first start."}, "image": {"alt": "A strip of small images for each route, from noise at step 0 to the final image."}}
emerging = {
    titles[route]: {
        step: images[len(am_seeds), 0].numpy()
        for step, images in found["fourier", route, seeds[0]].snapshots.items()
    }
    for route in titles
}
fig = plotting.plot_emergence(emerging)
# %% [markdown]
# How far the logit has come by then:

# %% tags=["training"] mystnb={"figure": {"name": "fig-ascent", "caption": "Logit of the class salt before each step, of the moved image, first seed; a line for each start, thick: their median."}, "image": {"alt": "The logit against the step: for each network a bundle of thin curves, one a start, about a thick one."}}
histories = {
    titles[route]: found["fourier", route, seeds[0]]
    .history[len(am_seeds) :]
    .numpy()
    for route in titles
}
fig = plotting.plot_ascent(histories)
# %% [markdown]
# ### What can be measured
#
# {numref}`fig-am-measures` puts numbers on these pictures, all seeds together, and puts the controls
# beside them.
#
# - *Contour sharpness*: how steep the image is along the contour of the salt that the segmenter
#   finds, over how steep it is on average. One means that the contour does not stand out, zero that
#   there is none.
# - *Salt bodies*: how many of them the segmenter finds.
# - *Noise*: by how much the spectrum exceeds that of the data, above the band of the data.
# - *Spectral distance* to the data, over all frequencies and either way.
# - *Gradient sparsity*: one for a single edge, zero for an even slope.
# - *Nearest real patch*: distance in the network's own latent representation to the most similar
#   real patch, over the distance that real patches have from each other.

# %%
groups = {
    **{("fourier", route): titles[route] for route in titles},
    ("naive", "segmentation"): "(a) naive",
    ("robust", "segmentation"): "(a) pixels, robust",
}
every = pd.concat(
    [
        made.table.assign(group=groups[key[:2]], seed=key[2])
        for key, made in found.items()
    ]
    + [
        table.assign(group="real " + table["class"], seed=seed)
        for seed, table in measured.items()
    ]
)
every.to_csv(results / "measures.csv", index=False)

# %% [markdown]
# Of this table, the images of the class salt and, as controls, real patches of both classes:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-measures", "caption": "Measures of the images of class salt: dots are images of all seeds, bars their means. At the bottom real patches of both classes, of the first seed's unseen volumes."}, "image": {"alt": "Six diagrams of dots, one a measure, with a row for each network, for pixels with and without robustness, and for real background and real salt."}}
shown = [
    "sharpness",
    "bodies",
    "noise_db",
    "spectral_distance_db",
    "sparsity",
    "nearest",
]
controls = every["group"].str.startswith("real")
salt = every[(every["class"] == "salt") | controls]
fig = plotting.plot_measures(salt, shown)
# %% [markdown]
# ## Class activation maps
#
# Since the logit of class $c$ is linear in the means of the feature maps $f_k$, with weights
# $w_{ck}$ and bias $b_c$, it can be taken apart by place before the mean is taken
# {cite}`zhou2016cam`:
#
# $$
# C(x, y) = \sum_k w_{ck} f_k(x, y), \qquad \text{mean of } C + b_c = \text{logit}.
# $$
#
# Each of the four blocks has such a map at its own resolution, and the means of the four add up.
# Signed maps are shown: red speaks for salt, blue against it.

# %%
rng = np.random.default_rng(0)
share = real[seeds[0]].shares
mixed = np.flatnonzero((share > 0.1) & (share < 0.9))
chosen = np.sort(rng.permutation(mixed)[:n_cams])
boundary = real[seeds[0]].take(chosen)
patches = boundary.tensors()
loaded = {titles[route]: first[route].load() for route in titles}

# %% [markdown]
# For one block by hand, and for all four by the library:

# %%
network = loaded[titles["segmentation"]]
maps = network.features(patches)
weights = network.head.weight[1].split([m.shape[1] for m in maps])
by_hand = [
    torch.einsum("k,nkhw->nhw", w, m)
    for w, m in zip(weights, maps, strict=True)
]
logits = network(patches)[:, 1]
total = sum(part.mean(dim=(1, 2)) for part in by_hand) + network.head.bias[1]
assert torch.allclose(total, logits, atol=1e-4)
cams = {name: xai.cam(model, patches, 1) for name, model in loaded.items()}
assert torch.allclose(
    cams[titles["segmentation"]].blocks[3][:, 0], by_hand[3], atol=1e-4
)

# %% [markdown]
# Drawn on the patches that they explain:

# %% tags=["training"] mystnb={"figure": {"name": "fig-cams", "caption": "Unseen patches with their true salt, and the class activation maps of the class salt; red speaks for salt, blue against it."}, "image": {"alt": "A row of grey patches with the outline of the salt in orange, and below them for each network a row of maps in red and blue with the same outline."}}
fig = plotting.plot_cams(
    patches[:, 0].numpy(),
    {name: found_maps.maps[:, 0].numpy() for name, found_maps in cams.items()},
    boundary.masks,
)
# %% [markdown]
# Two tests tell whether such maps mean anything. Pixels are *deleted* (replaced by the mean of their
# surroundings) or *inserted* in the order of the map: if it finds what decides, the probability of
# salt falls or rises faster than in a random order. Where a network takes even a patch without any
# details for salt, the curves do not end at zero, and only their distance to the random order counts.
# And when the weights are shuffled part by part, from the head down, the map has to lose its likeness
# to what it was.

# %% tags=["nbval-ignore-output"]
generator = torch.Generator().manual_seed(0)
anyhow = torch.rand(patches.shape, generator=generator)
orders = {
    titles["segmentation"]: cams[titles["segmentation"]].maps,
    titles["classification"]: cams[titles["classification"]].maps,
}
curves = {
    name: trace_curves(loaded[name], patches, order, 1)
    for name, order in orders.items()
}
curves["(a) in random order"] = trace_curves(network, patches, anyhow, 1)
cascade = {
    name: randomize_cascade(loaded[name], patches, 1, seed=0) for name in orders
}

# %% [markdown]
# {numref}`fig-cam-tests` has the outcome of both:

# %% tags=["training"] mystnb={"figure": {"name": "fig-cam-tests", "caption": "Tests of the maps: probability of salt as pixels go and come in the order of the map or, for (a), in a random one (bands: half of the patches), and correlation of the map with itself as weights are shuffled from the head down."}, "image": {"alt": "Three diagrams: the probability of salt against the share of pixels deleted, and against that of pixels inserted, and the correlation of the map with its intact self after each part of the network is shuffled."}}
fig = plotting.plot_cam_tests(
    next(iter(curves.values())).shares.numpy(),
    {name: curve.deletion.numpy() for name, curve in curves.items()},
    {name: curve.insertion.numpy() for name, curve in curves.items()},
    {
        name: {part: values.numpy() for part, values in parts.items()}
        for name, parts in cascade.items()
    },
)
# %% [markdown]
# Where masks are known, it can be counted where the evidence lies. Does a network look at the
# boundary of the salt? The last row is what a map without any preference would have. Only the map of
# the first block is fine enough to lie within the band: deep blocks spill over on both sides.

# %% tags=["nbval-ignore-output"]
masks = torch.from_numpy(boundary.masks)[:, None]
energy = {
    name: split_energy(found_maps.maps, masks, width_px=3)
    for name, found_maps in cams.items()
}
energy["no preference"] = split_energy(
    torch.ones_like(patches), masks, width_px=3
)

# %% [markdown]
# Averaged over the patches:

# %%
places = pd.DataFrame(
    {
        name: {part: f"{values.mean():.2f}" for part, values in parts.items()}
        for name, parts in energy.items()
    }
).T
places.columns = ["within 3 pixels of the boundary", "inside", "outside"]
places.to_csv(results / "energy.csv", index_label="Network")

# %% [markdown]
# ```{csv-table} Share of the energy of the class activation maps by place, mean over the patches shown.
# :file: ../results/03_activation_maximization/energy.csv
# :header-rows: 1
# :name: tab-energy
# ```
#
# ## Four classes
#
# LANDMASS, the second data set of the thesis, is made of small images in four classes: chaotic
# layers, faults, horizons (plain layers) and salt domes. Where the parameter `landmass` names its
# folder it is read; else patches of synthetic earths stand in for it, classed by what the geology
# put into them, and those to test on come from other earths. Neighbouring images of LANDMASS are
# nearly the same, so that a random split would test on what was trained on: it is split by blocks of
# indices, with some left out in between.

# %%
if landmass:
    images, numbers = study.read_class_patches(landmass, release=release)
    options = {"numbers": numbers, "n_dropped": n_dropped}
    parts = {
        f"block {block}": [
            images.take(rows)
            for rows in split_blocks(images.labels, block=block, **options)
        ]
        for block in blocks
    }
else:
    make_part = partial(
        study.make_class_patches,
        preset=class_preset,
        shape=tuple(class_shape),
        patch=explained.config.patch[0],
        n_per_class=n_per_class,
    )
    earth = 2 * seeds[0]  # of the seeds of earths that nothing else uses
    parts = {
        "unseen earths": [make_part(seed=earth), make_part(seed=earth + 1)]
    }

# %% [markdown]
# How many images each class has, in the first of the parts that are tested on:

# %%
train, test = next(iter(parts.values()))
counts = {
    name: np.bincount(part.labels)
    for name, part in (("train", train), ("test", test))
}
pd.DataFrame(counts, index=train.classes)

# %% [markdown]
# What they look like:

# %% mystnb={"figure": {"name": "fig-classes", "caption": "Patches of the four classes."}, "image": {"alt": "Six grey patches of each of the four classes: chaotic, fault, horizon and salt dome."}}
of_class = [
    np.flatnonzero(train.labels == k) for k in range(len(train.classes))
]
shown = {
    name: train.tensors()[rows[:: max(len(rows) // 6, 1)][:6], 0].numpy()
    for name, rows in zip(train.classes, of_class, strict=True)
}
fig = plotting.plot_image_grid(shown)
# %% [markdown]
# The same two routes, with the same encoder:

# %% tags=["nbval-ignore-output"]
encoders = study.find_encoders(classifiers, root=root)
four = replace(
    classifiers.config,
    train=replace(classifiers.config.train, epochs=class_epochs),
)
class_networks = {
    name: study.train_routes(
        four,
        train,
        test,
        seed=seeds[0],
        segmentation=encoders[seeds[0]],
        routes=study.ROUTES[:2],
        root=root,
    )
    for name, (train, test) in parts.items()
}

# %% [markdown]
# How often each is right, on every part that was tested on. Whether that takes any understanding, a
# classifier without a network tells, that gives each image the class of the *nearest image* trained
# on, pixel by pixel: where it does as well, images that look alike still stand on both sides of the
# split, or the classes are told apart by something trivial.

# %%
accuracy = pd.DataFrame(
    {
        titles[route]: {
            name: runs[route].outcome.scores["accuracy"]
            for name, runs in class_networks.items()
        }
        for route in study.ROUTES[:2]
    }
)
for name, (train, test) in parts.items():
    pixels = [part.tensors().flatten(1) for part in (test, train)]
    nearest = torch.cdist(*pixels).argmin(dim=1).numpy()
    same = train.labels[nearest] == test.labels
    accuracy.loc[name, "nearest image"] = same.mean()
train, test = next(iter(parts.values()))
if len(accuracy) > 1:
    accuracy.loc["mean"] = accuracy.mean()
accuracy.to_csv(results / "classes.csv", index_label="Tested on")
accuracy.round(4).to_csv(results / "classes_table.csv", index_label="Tested on")

# %% [markdown]
# ```{csv-table} Accuracy of both routes and of the nearest image on four classes, on images apart from those trained on.
# :file: ../results/03_activation_maximization/classes_table.csv
# :header-rows: 1
# :name: tab-classes
# ```

# %% [markdown]
# Which classes are taken for each other, in the first of these parts:

# %% tags=["training"] mystnb={"figure": {"name": "fig-classes-confusion", "caption": "Test images of the four classes by their true class (rows) and the predicted one (columns), first seed."}, "image": {"alt": "For each route a four by four square of counts, largest on its diagonal where the classifier is right."}}
runs = next(iter(class_networks.values()))
fig = plotting.plot_confusions(
    {
        titles[route]: np.array(run.outcome.scores["confusion"])
        for route, run in runs.items()
    },
    classes=train.classes,
)
# %% [markdown]
# And what excites each of the four:

# %% tags=["nbval-ignore-output"]
class_ascent = replace(
    ascent,
    shape=test.images.shape[1:],
    am_seeds=tuple(class_am_seeds),
    classes=tuple(range(len(test.classes))),
    snapshots=(),
)
class_images = {
    route: study.maximize_classes(
        run,
        class_ascent,
        real=test,
        segmenter=segmenters[seeds[0]],
        root=root,
    )
    for route, run in runs.items()
}

# %% [markdown]
# These images beside real ones:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-classes", "caption": "Images that maximize each of the four classes, and the real image that the network of (a) takes for most similar to its own; first start."}, "image": {"alt": "Rows of four grey images, one a class: what excites the classes of the segmentation encoder and of the classifier from scratch, and real images."}}
step = len(class_am_seeds)
rows = {
    titles[route]: made.images[::step, 0].numpy()
    for route, made in class_images.items()
}
nearest = class_images["segmentation"].nearest_patches[::step]
rows["nearest real image to (a)"] = test.tensors()[nearest, 0].numpy()
fig = plotting.plot_image_grid(rows, column_titles=test.classes)
# %% [markdown]
# ## The claims
#
# What the thesis reads off its Figure 3 was put into measures, directions and margins before the
# first full run, and no result changes them; {doc}`../notation` states the rule. A network is one
# observation: its images are averaged first. With fewer than three seeds every claim stays
# inconclusive.

# %%
segmentation = [run for run in networks if run.route == "segmentation"]
near = study.compare_near(segmentation, threshold=label_threshold)
am_scores = study.tabulate_maximization(
    (key[1] if key[0] == "fourier" else key[0], made)
    for key, made in found.items()
)
am_scores.to_csv(results / "scores.csv", index=False)
claims = study.REFERENCE / "claims.yml"
decisions = [
    study.decide(claim, table)
    for task, table in (("classification", near), ("maximization", am_scores))
    for claim in study.read_claims(claims, task=task)
]
study.write_json(results / "claims.json", study.list_claims(decisions))
study.format_claims(decisions).to_csv(results / "claims.csv", index=False)

# %% [markdown]
# ```{csv-table} The thesis' claims about classifiers and activation maximization, tested on the data of this page.
# :file: ../results/03_activation_maximization/claims.csv
# :header-rows: 1
# :name: tab-am-claims
# ```

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-effects", "caption": "Effect of every claim: mean over seeds with its one-sided 95 % bounds. Right of zero speaks for the claim."}, "image": {"alt": "Forest plot with a panel per claim: a dot for the mean and a bar for its bounds, around a vertical line at zero."}}
fig = plotting.plot_effects(study.effect_table(decisions))
# %% [markdown]
# ## Check
#
# Whatever was found again or computed on another device: the logits that are reported have to be
# those that the networks give the images.

# %%
kinds = np.repeat(ascent.classes, len(am_seeds))
for run in networks:
    made = found["fourier", run.route, run.seed]
    with torch.no_grad():
        logits = run.load()(made.images).numpy()
    again = logits[np.arange(len(kinds)), kinds]
    assert np.allclose(again, made.table["value"], rtol=1e-2, atol=1e-2)

# %% [markdown]
# The numbers in the text come from here:

# %%
means = am_scores.groupby("entry")[["sharpness", "one_body"]].mean()


def tell(value, form=".2f", unknown="an unknown number of"):
    """A number as text."""
    return unknown if np.isnan(value) else f"{value:{form}}"


# %% tags=["nbval-ignore-output"]
verdicts = [d.verdict for d in decisions if d.claim.checks is None]
accuracies = scores.groupby("route")["balanced_accuracy"].mean()
real_salt = salt.loc[salt["group"] == "real salt", "sharpness"].mean()
facts = {
    "accuracy_segmentation": f"{accuracies['segmentation']:.1%}",
    "accuracy_classification": f"{accuracies['classification']:.1%}",
    **{
        f"sharpness_{route}": tell(means["sharpness"][route])
        for route in titles
    },
    "sharpness_real": tell(real_salt),
    "one_body": tell(
        means["one_body"]["segmentation"], ".0%", "an unknown share"
    ),
    "n_reproduced": verdicts.count("reproduced"),
    "n_refuted": verdicts.count("not reproduced"),
    "n_open": verdicts.count("inconclusive"),
}
for name, value in facts.items():
    glue(name, value, display=False)

# %% [markdown]
# Data, seeds and the time that training took go into the provenance:

# %%
chapters.close_results(
    results,
    data=study.describe_data(explained.data, seeds=seeds),
    seeds=seeds,
    compute_s=sum(
        run.history["seconds"].sum()
        for run in networks
        if run.route != "untrained"
    ),
)

# %% [markdown]
# ## Summary
#
# - A segmentation network becomes a classifier by a new head; a network from scratch and an
#   untrained one tell what of its images is owed to segmentation, and what to training at all.
# - An image that maximizes a class is no picture of what the network knows: it depends on how the
#   image is written and moved, so every claim about it is tested with a measure, with controls and
#   with several starts.
# - Class activation maps add up to the logit. Whether they lie on the boundary of the salt is counted
#   in {numref}`tab-energy`, and the tests of {numref}`fig-cam-tests` tell whether they mean anything.
#
# {doc}`The next chapter <04_network_inversion>` asks the opposite question: not what a network wants
# to see, but what it keeps of what it saw.
