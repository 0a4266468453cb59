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
# # Does an encoder that knows salt know faults and horizons, too?
#
# **In short.** Of {glue:text}`n_tested` images in four classes ({glue:text}`source`), all of them apart
# from those trained on, a classifier that took over the encoder of a segmentation network is right about
# {glue:text}`accuracy_segmentation` and one that was trained from scratch about
# {glue:text}`accuracy_classification`. Whoever gives each image the class of the *nearest image*, pixel
# by pixel, is right about {glue:text}`accuracy_nearest`, a linear probe of an encoder with random weights
# about {glue:text}`accuracy_probe`, and guessing would be right about {glue:text}`accuracy_chance`. Only
# what the networks do better than these three was learned. No claim of the thesis is decided here.
#
# ```{head-figure} fig-am-classes
# ```
#
# What can be set: the images (a folder of LANDMASS, or synthetic earths), how they are split, the budget
# of the classifiers, and the steps and starts of the ascent.

# %% tags=["parameters", "hide-cell"]
classifiers: str = (
    "results/smoke/03_activation_maximization/classifiers.json"  # of chapter 3
)
loss_study: str = "results/smoke/02_loss_study/networks.json"  # of chapter 2
landmass: str | None = None  # folder of LANDMASS; none: patches of earths
release: int = 1  # of LANDMASS
blocks: list[int] = [0]  # of LANDMASS to test on, out of 0 to 4
n_dropped: int = 40  # images left out on either side of a block
max_correlation: float = 0.4  # with a test image, of images trained on
class_preset: str = "gulf"  # of the earths, without LANDMASS
class_shape: list[int] = [16, 96, 128]  # of each of them
n_per_class: int = 12  # patches of them, per class, to train on
class_epochs: int = 1  # of both classifiers of four classes
class_am_seeds: list[int] = [0]  # starts of their ascents
am_steps: int = 8  # steps of the ascent
am_lr: float = 0.05  # their learning rate
precision: str = "32-true"  # "auto": bf16 where hardware is good at it
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/06_landmass"  # where results go

# %% [markdown]
# The library supplies images, networks and ascents; `page` keeps what this chapter computes.

# %% tags=["hide-cell"]
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from saltvolumes import split_blocks
from thesis_lib import chapters, plotting, study
from thesis_lib.patches import EarthClasses, LandmassBlock
from thesis_lib.study.baselines import Baseline
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.judging import pick_judge
from thesis_lib.study.records import has_weights

page = chapters.open_page("06_landmass", globals())
titles = {
    "segmentation": "(a) segmentation encoder",
    "classification": "(b) classifier from scratch",
}
baselines = {"nearest": "nearest image", "probe": "probe of random weights"}

# %% [markdown]
# ## What is there before
#
# {doc}`Chapter 3 <03_activation_maximization>` made classifiers of two classes, and of its first seed come
# the encoder and all settings of the classifiers here. A network of
# {doc}`the loss study <02_loss_study>` with another seed (with a single seed: another loss) is the judge
# that finds salt in their images.

# %%
two_classes = study.read_tasks(page.find(classifiers))
encoder = two_classes[0].segmentation
scored = study.read_tasks(page.find(loss_study))
judge = pick_judge([score.network for score in scored], encoder)

# %% [markdown]
# ## Four classes
#
# LANDMASS, the second data set of the thesis, is made of small images in four classes: chaotic
# layers, faults, horizons (plain layers) and salt domes. Where the parameter `landmass` names its
# folder it is read. Otherwise patches of synthetic earths stand in for it, classed by what the geology
# put into them, and those to test on come from other earths. Neighbouring images of LANDMASS are
# nearly the same, so that a random split would test on what was trained on: it is split by blocks of
# indices, with some left out in between, and whatever else correlates too much with an image to test on
# is not trained on either. Of ten images in a row, in five blocks with one image left out
# on either side, the third block leaves these:

# %%
numbers = np.arange(10)
to_train, to_test = split_blocks(numbers * 0, numbers, 2, n_dropped=1)
third = numbers // 2 == 2
assert (to_test == numbers[third]).all()
near = np.abs(numbers[:, None] - numbers[third]).min(axis=1) <= 1
assert (to_train == numbers[~near]).all()

# %% [markdown]
# The data of this page, by the part that is tested on:

# %%
if landmass:
    parts = {
        f"block {block}": LandmassBlock(
            landmass, release, block, n_dropped, max_correlation
        )
        for block in blocks
    }
else:
    parts = {
        "unseen earths": EarthClasses(
            class_preset,
            tuple(class_shape),
            encoder.patch[0],
            n_per_class,
            first=2 * encoder.seed,
        )
    }

# %% [markdown]
# Each part has images to train on and others to test on:

# %%
split = {
    name: (part.train(encoder.seed), part.test(encoder.seed))
    for name, part in parts.items()
}
train, test = next(iter(split.values()))

# %% [markdown]
# How many images each class has, in the first of the parts:

# %%
counts = {
    name: np.bincount(images.labels)
    for name, images in (("train", train), ("test", test))
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
# ## Two classifiers
#
# With two of the initialisations as before, (a) by the segmentation encoder and (b) from scratch, each part
# has its classifiers, and an untrained network as their control:

# %%
tasks = {
    (name, task.initialisation): replace(
        task, patches=part, train=replace(task.train, epochs=class_epochs)
    )
    for name, part in parts.items()
    for task in two_classes
    if task.seed == encoder.seed and task.initialisation != "frozen"
}

# %% [markdown]
# Images that excite the classes of each, in the first part, end this page. They are stated now, so that
# a wrong value is refused before anything is trained:

# %%
first = next(iter(parts))
ascents = {
    name: study.Maximize(
        tasks[first, name],
        judge,
        tuple(class_am_seeds),
        classes=tuple(range(len(test.classes))),
        steps=am_steps,
        lr=am_lr,
        precision=precision,
    )
    for name in titles
}

# %% [markdown]
# The classifiers are found again or trained now:

# %% tags=["nbval-ignore-output"]
networks = dict(zip(tasks, page.run(tasks.values()), strict=True))

# %% [markdown]
# How often each is right, on every part that was tested on:

# %%
reached = {key: run.scores["accuracy"] for key, run in networks.items()}
accuracy = pd.Series(reached).unstack(sort=False)[[*titles]]

# %% [markdown]
# Whether that takes any training is seen from two classifiers that have none. One gives each image the class
# of the *nearest image* trained on, pixel by pixel: where it does as well, images that look alike are still
# on both sides of the split, or the classes are told apart by something trivial. The other is a *linear
# probe*, a ridge regression on the latent representation of the untrained network: where it does as well,
# the architecture alone is enough.

# %% tags=["nbval-ignore-output"]
untrained = {name: Baseline(tasks[name, "untrained"]) for name in parts}
plain = dict(zip(parts, page.run(untrained.values()), strict=True))

# %% [markdown]
# By hand, for the nearest image in the first of the parts:

# %%
pixels = [part.tensors().flatten(1) for part in (test, train)]
nearest = torch.cdist(*pixels).argmin(dim=1).numpy()
same = (train.labels[nearest] == test.labels).mean()
assert np.isclose(plain[next(iter(parts))].scores["nearest"], same)

# %% [markdown]
# The table has one row per part and, where there are several, their mean:

# %%
for name, title in baselines.items():
    accuracy[title] = pd.Series(
        {key: r.scores[name] for key, r in plain.items()}
    )
accuracy = accuracy.rename(columns=titles)
if len(accuracy) > 1:
    accuracy.loc["mean"] = accuracy.mean()
accuracy = accuracy.rename_axis("Tested on")
page.save(classes=accuracy, classes_table=accuracy.round(4))

# %% [markdown]
# ```{csv-table} Accuracy of both classifiers, of the nearest image and of a linear probe of an untrained network on four classes, on images apart from those trained on.
# :file: ../results/06_landmass/classes_table.csv
# :header-rows: 1
# :name: tab-classes
# ```

# %% [markdown]
# Which classes are taken for each other, in the first of these parts:

# %% tags=["training"] mystnb={"figure": {"name": "fig-classes-confusion", "caption": "Test images of the four classes by their true class (rows) and the predicted one (columns), first seed."}, "image": {"alt": "For each classifier a four by four square of counts, largest on its diagonal where the classifier is right."}}
confusions = {
    title: np.array(networks[first, name].scores["confusion"])
    for name, title in titles.items()
}
fig = plotting.plot_confusions(confusions, classes=train.classes)
# %% [markdown]
# ## What excites each of the four
#
# The ascent is that of {doc}`chapter 3 <03_activation_maximization>`, for every class and on images as
# large as these. Images that were made before are found again:

# %% tags=["nbval-ignore-output"]
made = dict(zip(ascents, page.run(ascents.values()), strict=True))
found = {name: run.load_tensors("images") for name, run in made.items()}
measures = study.tabulate(
    made.values(), rows="images", initialisation="network.initialisation"
)
page.save(measures=measures)

# %% [markdown]
# {numref}`fig-am-classes` compares these images with some that the networks were tested on:

# %% tags=["training"] mystnb={"figure": {"name": "fig-am-classes", "caption": "Images that maximize each of the four classes, and the test image that the network of (a) takes for most similar to its own; first start."}, "image": {"alt": "Rows of four grey images, one a class: what excites the classes of the segmentation encoder and of the classifier from scratch, and test images."}}
step = len(class_am_seeds)
of_a = measures[measures["initialisation"] == "segmentation"]
nearest = of_a["nearest_patch"].tolist()[::step]
rows = {
    title: found[name]["images"][::step, 0].numpy()
    for name, title in titles.items()
}
rows["test images nearest to (a)"] = test.tensors()[nearest, 0].numpy()
fig = plotting.plot_image_grid(rows, column_titles=test.classes)
# %% [markdown]
# ## Check
#
# The logits that are reported have to be those that the networks give the images:

# %%
kinds = np.repeat(range(len(test.classes)), len(class_am_seeds))
for name, run in made.items():
    if not has_weights(run.parents["network"]):
        continue  # a record
    model = load_classifier(run.parents["network"])
    with torch.no_grad():
        logits = model(found[name]["images"]).numpy()
    again = logits[np.arange(len(kinds)), kinds]
    reported = measures.loc[measures["initialisation"] == name, "value"]
    assert np.allclose(again, reported, rtol=1e-2, atol=1e-2)

# %% [markdown]
# And no image should be on both sides of a split. The largest correlation of an image trained on with one
# tested on, where 1 is the same image:

# %%
likeness = pd.Series(
    {name: run.scores["likeness"] for name, run in plain.items()}
)
if landmass:
    assert (likeness <= max_correlation + 1e-5).all()
likeness.round(2)

# %% [markdown]
# The numbers in the text come from here:

# %% tags=["nbval-ignore-output"]
names = {title: name for name, title in titles.items()}
names |= {title: name for name, title in baselines.items()}
means = accuracy.iloc[-1].rename(names)
means["chance"] = 1 / len(test.classes)
page.tell(
    **means.map("{:.1%}".format).add_prefix("accuracy_"),
    n_tested=sum(len(unknown) for _, unknown in split.values()),
    source="LANDMASS" if landmass else "patches of synthetic earths",
)
page.close()

# %% [markdown]
# ## Summary
#
# - An encoder that was trained to find salt is a start for other classes as well; what it is worth is
#   the difference between (a) and (b) in {numref}`tab-classes`.
# - Neighbouring images are nearly the same. They are kept on one side of the split, and so is whatever
#   correlates with them; the nearest image shows whether that was enough.
# - One seed and a few hundred images decide nothing: the images of {numref}`fig-am-classes` are to be
#   looked at.
