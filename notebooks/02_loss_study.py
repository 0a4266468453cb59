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
# # Which loss finds the salt best?
#
# **In short.** {glue:text}`answer_1` {glue:text}`answer_2` {glue:text}`answer_3`
# {glue:text}`answer_4` {glue:text}`answer_5`
#
# ```{head-figure} fig-answer
# ```
#
# What can be set: the data (a preset of the synthetic earth or a volume of your own) and how they are
# split, the losses and seeds that are compared, the budget of each network, and how scores turn
# samples into metres.

# %% tags=["parameters", "hide-cell"]
data: str = "gulf"  # preset of the synthetic earth, or path of a volume
shape: list[int] = [48, 64, 64]  # earth: (n_inline, n_crossline, n_depth)
n_train_volumes: int = 1  # earths to train on, per seed
n_test_volumes: int = 1  # unseen earths to score, per seed
reading: dict = {}  # arguments of open_volume for a file, by name
split_axis: str = "crossline"  # axis along which a volume is split
test_lines: list[int] = []  # lines to score; none: the last fifth
validation_lines: list[int] = []  # lines to watch during training
guard_lines: int | None = None  # lines between; none: a patch's width
losses: list[str] = ["bce", "dice", "hausdorff"]  # keys of LOSSES
seeds: list[int] = [0]  # three at least for a verdict
epochs: int = 2  # rounds, each with a validation
n_patches: int | None = 64  # patches per epoch; none: all of them
batch_size: int = 16  # patches per step
lr: float = 0.002  # peak of the one-cycle learning rate
contested: list[str] = ["dice"]  # losses that get other budgets and lr too
budgets: list[int] = [1]  # multiples of epochs for these
budget_seeds: list[int] = [0]  # seeds of these budgets
lr_factors: list[float] = [1.0]  # multiples of lr for these, first seed
browsed_seed: int = 0  # seed whose predictions are browsed section by section
patch: int = 32  # height and width of a patch, in samples
stride: int = 16  # step between patches, in samples
axes: list[str] = ["inline", "crossline"]  # directions of the sections
encoder: str = "resnet18"  # timm encoder with four stages
pretrained: bool = False  # start the encoder from timm's weights
precision: str = "32-true"  # "auto": bf16 where hardware is good at it
tolerance_m: float = 50.0  # of the surface Dice
velocity_m_s: float | None = None  # turns two-way time into metres
n_workers: int = 1  # processes that share the runs
runs_dir: str = "runs"  # where runs are kept
results_dir: str = "results/smoke/02_loss_study"  # where results go

# %% [markdown]
# The library supplies data, losses, network and scores; `page` keeps what this chapter computes.

# %% tags=["hide-cell"]
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch.optim.lr_scheduler import OneCycleLR

from saltvolumes import middle_section
from thesis_lib import chapters, plotting, study
from thesis_lib.losses import LOSSES
from thesis_lib.metrics import score_volume
from thesis_lib.model import SaltUNet
from thesis_lib.patches import PatchBatches, choose_data
from thesis_lib.study import evidence
from thesis_lib.study.answer import answer_losses, name_set
from thesis_lib.study.claim_tables import effect_table
from thesis_lib.study.claims import gate_claims
from thesis_lib.study.ensembles import tabulate_ensembles
from thesis_lib.study.segmentation import load_sections
from thesis_lib.study.tables import (
    LOSS_NAMES,
    NOT_RUN,
    SCORE_NAMES,
    format_cell,
    format_table1,
    read_thesis_table,
)
from thesis_lib.training import TrainConfig, fit

page = chapters.open_page("02_loss_study", globals())
names = LOSS_NAMES

# %% [markdown]
# ## What is compared
#
# It is stated before anything is computed, so that a wrong value is refused at once. The data come
# first: a synthetic earth is drawn by its seed; a volume of your own is split into blocks of lines, with
# a guard between them.

# %%
source = choose_data(
    data,
    shape=shape,
    n_train=n_train_volumes,
    reading=reading,
    split_axis=split_axis,
    test_lines=tuple(test_lines),
    validation_lines=tuple(validation_lines),
    guard_lines=patch if guard_lines is None else guard_lines,
)

# %% [markdown]
# A **task** is a unit of work that is known by its settings: `Train` makes a network, `Score` is a row of
# Table 1, of the network that it names. What was computed before is found again, and what was stopped
# goes on after its last finished epoch.

# %%
network = study.Train(
    seed=seeds[0],
    loss="bce_dice",
    data=source,
    train=TrainConfig(epochs=epochs, lr=lr, precision=precision),
    patch=(patch, patch),
    stride=(stride, stride),
    axes=tuple(axes),
    batch_size=batch_size,
    n_patches=n_patches,
    encoder=encoder,
    pretrained=pretrained,
)

# %% [markdown]
# Its score, and the study: that task for every seed and loss.

# %%
row = study.Score(network, n_test_volumes, tolerance_m, velocity_m_s)
tasks = study.grid(row, seed=seeds, loss=losses)

# %% [markdown]
# Some losses (parameter `contested`) are trained again: with multiples of the epochs, for some seeds, and
# with multiples of the learning rate, for the first.

# %%
train = network.train
longer, scaled = [], []
for budget in budgets if contested else ():
    changed = row.change(train=replace(train, epochs=budget * epochs))
    longer += study.grid(changed, seed=budget_seeds, loss=contested)
for factor in lr_factors if contested else ():
    changed = row.change(train=replace(train, lr=lr * factor))
    scaled += study.grid(changed, loss=contested)

# %% [markdown]
# ## The network
#
# All losses train the same U-Net. A *merger* of three $1 \times 1$ convolutions turns the single
# channel of a patch into the three that the encoder expects; the encoder is a residual network, the
# ResNet34 of the thesis but in the smallest profile, whose four blocks halve the size of their input
# (but for the first) and double its channels; the decoder climbs back and takes over what each block
# saw. The outputs of the four blocks together are the *latent representation* that the later chapters
# look into.

# %%
stages = SaltUNet(encoder).stages(patch, patch)
pd.DataFrame(
    stages, columns=["stage", "channels", "height", "width"]
).set_index("stage")

# %% [markdown]
# {numref}`fig-network` draws the stages and the connections between them.

# %% mystnb={"figure": {"name": "fig-network", "caption": "The network, after Figure 2 of the thesis, with the decoder. Each box: what leaves the stage, channels × height × width. The outputs of the coloured blocks form the latent representation."}, "image": {"alt": "Diagram of the network: a column of boxes for input, merger, stem and four blocks going down on the left, a column of decoder boxes going up on the right, dashed arrows for the skip connections between them."}}
handed = ("stem", "block 1", "block 2", "block 3")
skips = [(name, f"up {4 - i}") for i, name in enumerate(handed)]
latent = [name for name, *_ in stages if name.startswith("block")]
fig = plotting.plot_network(stages, skips=skips, latent=latent)
# %% [markdown]
# ## The losses
#
# A loss compares the logits $x$ of a patch, or $p = 1 / (1 + e^{-x})$, with the target $t$, which
# is one inside salt and zero outside. The thesis gives only the names; these are the definitions
# used here. All of them are taken per patch, over its $N$ samples, and averaged over the batch.
#
# | loss | definition |
# |---|---|
# | BCE | $-\frac{1}{N}\sum t \ln p + (1 - t)\ln(1 - p)$ |
# | Contour | $\frac{1}{N}\sum M \cdot \mathrm{BCE}$, with $M = 1 + 5\,(\mathrm{dilate}(t) - \mathrm{erode}(t))$ {cite}`chen2019contour` |
# | Dice | $1 - 2\sum pt \,/\, (\sum p + \sum t)$ {cite}`milletari2016vnet` |
# | Focal | $\frac{1}{N}\sum (1 - p_t)^\gamma \,\mathrm{BCE}$, with $\gamma = 2$ and $p_t$ the probability of the true class {cite}`lin2017focal` |
# | Hausdorff | $\frac{1}{N}\sum (p - t)^2 (d_p^2 + d_t^2)$, with $d$ the distance in pixels to the other side of a mask {cite}`karimi2019hausdorff` |
# | Jaccard | $1 - D / (2 - D)$, with $D$ the soft Dice coefficient |
# | KL | Kullback-Leibler divergence of Bernoulli distributions, from a target smoothed by $0.1$ |
# | Lovász | Lovász extension of the Jaccard index on the sorted hinge errors {cite}`yu2015lovasz,berman2018lovasz` |
# | MSE | $\frac{1}{N}\sum (p - t)^2$ |
# | Wing | $\frac{1}{N}\sum w \ln(1 + \lvert p - t\rvert / \epsilon)$ below $w$, linear above {cite}`feng2018wing` |
# | BCE + Dice | their sum, the baseline of the thesis |
#
# Three of them in NumPy, to see that the library computes what the table says:

# %%
x, t = np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
p = 1 / (1 + np.exp(-x))
by_hand = {
    "bce": -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(),
    "dice": 1 - 2 * (p * t).sum() / (p.sum() + t.sum()),
    "mse": ((p - t) ** 2).mean(),
}

# %% [markdown]
# The library has to agree:

# %%
logits, target = (torch.from_numpy(array)[None, None] for array in (x, t))
by_library = {name: LOSSES[name](logits, target).item() for name in by_hand}
assert np.allclose(list(by_hand.values()), list(by_library.values()))
pd.DataFrame({"by hand": by_hand, "library": by_library})

# %% [markdown]
# What a loss asks for is seen from its value when a whole patch gets the same logit, once for a
# patch that is all salt and once for one without any.

# %%
sample_logits = np.linspace(-6, 6, 49)
whole = torch.ones(1, 1, 8, 8)
curves = {
    names[name]: np.array(
        [
            [loss(x * whole, t * whole).item() for x in sample_logits]
            for t in (0, 1)
        ]
    )
    for name, loss in LOSSES.items()
}

# %% [markdown]
# A loss that is flat where the network is wrong cannot teach it; one that is steep where it is right
# never lets go:

# %% mystnb={"figure": {"name": "fig-loss-curves", "caption": "Each loss against a logit that is the same in the whole patch, for a patch without salt and one full of it."}, "image": {"alt": "Eleven small diagrams, one a loss, each with a rising curve for a patch without salt and a falling one for a patch full of salt."}}
fig = plotting.plot_histories(
    {
        name: {"target 0 (background)": c[:1], "target 1 (salt)": c[1:]}
        for name, c in curves.items()
    },
    x=sample_logits,
    xlabel="logit",
    ylabel="loss",
    share_y=False,
)
# %% [markdown]
# The gradient tells where a loss pulls. Here the truth is a disc and the prediction the same disc
# moved to the right, with logits that fall with the distance from its centre. A crescent of salt is
# missed on the left and one is invented on the right. Some losses pull at the two crescents alone,
# others at every sample, and the Hausdorff loss the more the farther a sample is from a boundary.

# %%
rows, columns = torch.meshgrid(
    torch.arange(48.0), torch.arange(48.0), indexing="ij"
)
target = (torch.hypot(rows - 24, columns - 21) < 12).float()[None, None]
moved = ((12 - torch.hypot(rows - 24, columns - 27)) / 2)[
    None, None
].requires_grad_()

# %% [markdown]
# Gradients differ in size by orders of magnitude; each is scaled to its largest one.

# %%
gradients = {}
for name, loss in LOSSES.items():
    (gradient,) = torch.autograd.grad(loss(moved, target), moved)
    gradients[names[name]] = (gradient / gradient.abs().max())[0, 0].numpy()

# %% [markdown]
# Blue asks for more salt, red for less:

# %% mystnb={"figure": {"name": "fig-loss-gradients", "caption": "Gradient of each loss with respect to the logits, scaled to its largest magnitude, for a disc of salt that is predicted too far to the right."}, "image": {"alt": "Eleven maps of gradients around a disc: blue where a loss wants more salt, on the left, and red where it wants less, on the right."}}
label = "gradient"
fig = plotting.plot_image_grid(
    {label: np.array(list(gradients.values()))},
    captions={label: list(gradients)},
    masks=np.repeat(target[0].numpy() > 0, len(gradients), axis=0),
    signed={label: "gradient / its largest magnitude"},
    n_columns=4,
)
# %% [markdown]
# Another shift, another radius, another confidence? Move the dashed disc, and see what each loss makes of it.
# The more confident a wrong prediction is, the weaker is the pull of losses that see probabilities only;
# those taken on logits keep theirs. {numref}`fig-loss-shift` shows each loss along a straight way: some do not
# tell a disc that has just missed the truth from one that is far away.
#
# ````{loss-explorer}
# ```{figure} ../results/loss_shift.png
# :name: fig-loss-shift
# :alt: Eleven small diagrams, one for each loss, which grows as the predicted disc moves away from the true one. Dice, Jaccard, MSE and Wing flatten once the discs no longer touch; the others do not, and Hausdorff grows fastest.
#
# Each loss of a predicted disc against its shift from the true one, from full overlap until they no longer touch. Radius and confidence are those of {numref}`fig-loss-gradients`.
# ```
# ````

# %% [markdown]
# ## The runs
#
# A run is one network, trained with one loss and one seed. All runs of a seed share the initial
# weights, the patches and their order, the optimiser (AdamW), its one-cycle schedule and the
# budget. The last weights of the schedule count, and the mask is where the probability exceeds one
# half, for every loss: no score selects anything. Training, validation and test volumes never
# touch; the earths of each seed, those that are scored included, are its own.
#
# One setting is owed to the Hausdorff loss. Its gradients begin orders of magnitude above those of
# the others, because it weighs an error by the square of a distance. AdamW divides each step by a
# running mean of squared gradients, and the usual memory of that mean is longer than a short
# schedule: the loss would pay for its first steps to the end. All losses are therefore trained with
# a shorter memory, and with a bound on the norm of the gradient.
#
# What all losses share, and how long the study is:

# %%
settings = {
    "lr": train.lr,
    "memory (beta2)": train.beta2,
    "gradient norm": train.gradient_clip,
}
pd.Series(
    settings | {"epochs": train.epochs, "patches per epoch": n_patches},
    name="all losses",
)

# %% [markdown]
# One step of the training, by hand: the loss of a batch, its gradient with a bounded norm, and AdamW at
# the learning rate that the schedule is at.

# %%
batches = PatchBatches(
    source.train(seeds[0]),
    patch=patch,
    stride=stride,
    axes=axes,
    batch_size=8,
    n_patches=8,
    seed=0,
)
((images, masks),) = batches.epoch(0)

# %% [markdown]
# Forward, backward, and a step:

# %%
stepped = SaltUNet(encoder, seed=0).train()
optimizer = torch.optim.AdamW(stepped.parameters(), lr=lr, betas=(0.9, 0.99))
OneCycleLR(optimizer, max_lr=lr, total_steps=1, cycle_momentum=False)
LOSSES["dice"](stepped(images), masks).backward()
torch.nn.utils.clip_grad_norm_(stepped.parameters(), 1.0)
optimizer.step()

# %% [markdown]
# The library's loop, asked for a single step, has to end at the same loss:

# %%
fitted = SaltUNet(encoder, seed=0)
once = TrainConfig(epochs=1, lr=lr, precision="32-true", accelerator="cpu")
history = fit(fitted, batches, LOSSES["dice"], once, progress=False)

# %% [markdown]
# Both networks, asked for the loss of the same batch:

# %%
with torch.no_grad():
    by_hand, by_library = (
        LOSSES["dice"](model.train()(images), masks).item()
        for model in (stepped, fitted)
    )
assert np.isclose(by_hand, by_library, rtol=1e-3)

# %% [markdown]
# The runs, one line each. Those that were published with this book are found as records of their
# scores; those that were stopped go on.

# %% tags=["nbval-ignore-output"]
runs = page.run(tasks, n_workers, partial=True)
page.save(networks=tasks)

# %% [markdown]
# ## Table 1
#
# Scores compare the stitched prediction of a whole test volume with its mask, in three dimensions, and are
# averaged over the volumes of a seed. Dice counts samples. PS compares the sizes of the two perimeters and
# nothing else: it does not see *where* they are. So three scores that do see it are listed with it:
# surface Dice, and the 95th percentile and the mean of the distances between the boundaries, in metres.

# %%
columns = {"loss": "network.loss", "seed": "network.seed"}
scores = study.tabulate(runs, **columns)
scores = scores.sort_values(["loss", "seed"], ignore_index=True)
thesis = read_thesis_table()

# %% [markdown]
# Losses are compared within a seed, so a seed counts where all of its losses have finished (before the
# first one has, the seed with the most):

# %%
n_finished = scores["seed"].value_counts(sort=False)
complete = n_finished.index[n_finished == len(losses)]
counting = sorted(complete) or [n_finished.idxmax()]
scores = scores[scores["seed"].isin(counting)]
runs = [run for run in runs if run.task.network.seed in counting]

# %% [markdown]
# The losses that may be the best by a score are all that no rival exceeds beyond the spread of the seeds:

# %%
judged = ["dice", "perimetric_similarity", "surface_dice"]
judged = [name for name in judged if scores[name].notna().all()]
best = {s: evidence.find_best_set(scores, s, by="loss") for s in judged}
bold = best if scores["seed"].nunique() > 2 else {}
page.save(scores=scores, table1=format_table1(scores, thesis, bold=bold))

# %% [markdown]
# :::{div} full-width
# ```{csv-table} Scores of every loss on the unseen volumes, next to Table 1 of the thesis. With several seeds: mean ± half of its 95 % interval; bold: the losses that may be the best (95 % confidence set).
# :file: ../results/02_loss_study/table1.csv
# :header-rows: 1
# :name: tab-table1
# ```
# :::

# %% tags=["training"] mystnb={"figure": {"name": "fig-scores", "caption": "Dice and PS of every loss: ours and the thesis'."}, "image": {"alt": "Dot plot with a row per loss: our scores and those of the thesis, for Dice on the left and PS on the right."}}
fig = plotting.plot_table(scores.replace({"loss": names}), thesis.rename(names))
# %% [markdown]
# In how many seeds each loss has the highest score:

# %% tags=["training"]
firsts = {s: evidence.count_first(scores, s, by="loss") for s in judged}
pd.DataFrame(firsts).rename(index=names, columns=SCORE_NAMES)

# %% [markdown]
# Other data, other numbers: what can be compared is the order of the losses. Spearman's rank
# correlation is 1 for the same order, -1 for the reverse one and near 0 for none; its interval is
# that of a bootstrap over seeds.

# %% tags=["training-0.6"]
ranks = {
    SCORE_NAMES[s]: evidence.correlate_ranks(scores, thesis[s], s, by="loss")
    for s in ("dice", "perimetric_similarity")
}
ranks = pd.DataFrame(ranks, index=["rank correlation", "low", "high"]).T
page.save(ranks=ranks.rename_axis("score"))
ranks.round(2)

# %% [markdown]
# An order that one volume shows may be reversed by the next ({numref}`fig-earths`). Over volumes the mean
# score of all losses spreads by {glue:text}`spread_volumes` (standard deviation), over losses, each averaged
# over all volumes, by {glue:text}`spread_losses`. This is why every seed has earths of its own, where the
# data are earths, and why only differences within a seed count.

# %% tags=["training"]
each = study.tabulate(runs, rows="volumes", **columns)
each["volume"] = each.groupby(["loss", "seed"]).cumcount()
by_volume = each.pivot(index="loss", columns=["seed", "volume"], values="dice")
by_volume = by_volume[by_volume.mean().sort_values().index].rename(names)
page.tell(
    spread_volumes=f"{by_volume.mean().std():.4f}",
    spread_losses=f"{by_volume.mean(axis=1).std():.4f}",
)

# %% [markdown]
# One panel per loss, with all others behind it, and the volumes in order of their mean score:

# %% tags=["training"] mystnb={"figure": {"name": "fig-earths", "caption": "Dice score of every loss on each unseen volume of each seed, in the order of the mean over all losses."}, "image": {"alt": "One small diagram per loss: its Dice score rises from the hardest to the easiest volume, in front of the grey curves of all other losses."}}
fig = plotting.plot_histories(
    {
        name: {"this loss": row[None], "the other losses": by_volume.to_numpy()}
        for name, row in zip(by_volume.index, by_volume.to_numpy(), strict=True)
    },
    xlabel="unseen volume, from hard to easy",
    ylabel="Dice",
    background="the other losses",
    x=np.arange(1, by_volume.shape[1] + 1),
)
# %% [markdown]
# ## Budget and learning rate
#
# A short training ranks how fast losses converge as well, and a learning rate that suits one loss may
# starve another. So some losses were trained with other budgets as well:

# %% tags=["nbval-ignore-output"]
budget_runs = page.run(longer, n_workers, partial=True)

# %% [markdown]
# Where the order of the rows changes from one column to the next, their positions in Table 1 are owed to the
# budget. Only seeds that have all budgets are averaged:

# %% tags=["training-0.3"]
columns |= {"epochs": "network.train.epochs", "lr": "network.train.lr"}
by_budget = study.tabulate(budget_runs, **columns)
evidence.average_settings(by_budget, "epochs").rename(index=names).round(4)

# %% [markdown]
# How flat the curves are: what the last quarter of the epochs adds to the Dice score of the volume that is
# watched. It selects nothing. A large gain says that a loss was not done; a small one may be owed to the
# schedule, whose steps end small.

# %%
curves = study.tabulate_histories(budget_runs, **columns)
is_end = curves["epoch"] == curves["epochs"]
is_before = curves["epoch"] == curves["epochs"] * 3 // 4
ends, before = (
    part.groupby(["loss", "epochs"])["validation_dice"].mean()
    for part in (curves[is_end], curves[is_before])
)

# %% tags=["training-0.3"]
(ends - before).unstack().rename(index=names).round(4)

# %% [markdown]
# The curves themselves, of all seeds:

# %%
table = curves.pivot(
    index=["loss", "epochs", "seed"], columns="epoch", values="validation_dice"
)
panels = {
    names[loss]: {f"{n} epochs": each for n, each in part.groupby("epochs")}
    for loss, part in table.groupby("loss")
}

# %% tags=["training"] mystnb={"figure": {"name": "fig-budgets", "caption": "Dice score on the watched volume against the epoch, for every budget and seed; thick lines are medians."}, "image": {"alt": "One small diagram for each contested loss with curves that rise over the epochs, one colour for each budget."}}
if panels:
    plotting.plot_histories(
        {
            name: {label: part.to_numpy() for label, part in parts.items()}
            for name, parts in panels.items()
        },
        xlabel="epoch",
        ylabel="validation Dice",
        x=table.columns.to_numpy(),
    )
# %% [markdown]
# The learning rate in the same way:

# %% tags=["nbval-ignore-output"]
lr_runs = page.run(scaled, n_workers, partial=True)

# %% [markdown]
# Each row is a loss, each column a learning rate:

# %% tags=["training-0.3"]
by_lr = study.tabulate(lr_runs, **columns)
page.save(by_budget=by_budget, by_lr=by_lr)
evidence.average_settings(by_lr, "lr").rename(index=names).round(4)

# %% [markdown]
# ## How they learn
#
# Losses have different scales, so the upper row of {numref}`fig-learning` shows their course only; the
# Dice score on the validation volume below it can be compared.

# %%
first = {
    names[run.task.network.loss]: run
    for run in runs
    if run.task.network.seed == counting[0]
}
histories = {n: run.parents["network"].history for n, run in first.items()}

# %% [markdown]
# A loss is shown relative to its first value; the Dice score is there where a volume was watched.

# %%
relative = {
    n: h["train_loss"] / h["train_loss"][0] for n, h in histories.items()
}
watched = {
    n: h["validation_dice"]
    for n, h in histories.items()
    if "validation_dice" in h
}

# %% [markdown]
# One panel per loss, with the Dice scores of all others behind it:

# %%
panels = {
    name: {
        "training loss / its first value": relative[name].to_numpy()[None],
        "validation Dice": np.array(
            [watched.get(name, relative[name] * np.nan)]
        ),
        "the other losses": np.array([*watched.values()] or [relative[name]]),
    }
    for name in first
}
# %% [markdown]
# So they learn:

# %% tags=["training"] mystnb={"figure": {"name": "fig-learning", "caption": "Training loss and Dice score on the validation volume after every epoch, first seed. Losses have different scales; only their course can be compared."}, "image": {"alt": "One small diagram per loss against the epoch: the training loss falls, the validation Dice rises; the other losses are grey."}}
fig = plotting.plot_histories(
    panels,
    ylabel="dimensionless",
    xlabel="epoch",
    x=np.arange(1, epochs + 1),
    background="the other losses",
)
# %% [markdown]
# ## What they predict
#
# Scores hide where a network errs. {numref}`fig-predictions` shows one section of a volume that none of
# them has seen.

# %% tags=["training"] mystnb={"figure": {"name": "fig-predictions", "caption": "The middle section of the first test volume with the true salt (solid) and what each loss predicts (dashed), first seed."}, "image": {"alt": "The same seismic section once for every loss, with the true outline of the salt solid and the predicted one dashed."}}
axis = axes[0]
unseen = source.test(counting[0], n_test_volumes)[0]
section = middle_section(unseen, axis)
probabilities = {
    name: load_sections(run)[f"{axis}_section"] for name, run in first.items()
}
fig = plotting.plot_predictions(
    section["amplitude"], section["salt"], probabilities
)
# %% [markdown]
# One section is not the volume. So the networks of the seed `browsed_seed` predict the first test volume
# of that seed as a whole:

# %% tags=["nbval-ignore-output"]
shown_seed = browsed_seed if browsed_seed in seeds else seeds[0]
browsed = page.run(
    [
        study.Predict(task.network, n_test_volumes)
        for task in study.grid(row, seed=[shown_seed], loss=losses)
    ],
    n_workers,
    partial=True,
)
if browsed:
    by_name = {names[run.task.network.loss]: run for run in browsed}
    volume = browsed[0].task.open_volume()
    page.save(sections=study.moving.pack_volume(volume, by_name))

# %% [markdown]
# ```{section-browser} ../results/02_loss_study/sections.json
# :title: Browse a test volume, section by section
#
# Solid orange: the true salt; dashed blue: what is predicted. Filled orange: salt that is missed; filled
# blue: salt that is invented. Numbers next to the losses are their Dice scores in the section that is shown.
# Sections are changed by the slider, by arrow keys, or by dragging the picture sideways.
# ```
#
# The losses with the highest and the lowest mean Dice, and the baseline:

# %% tags=["training"] mystnb={"figure": {"name": "fig-answer", "caption": "An unseen section with the true salt (solid) and three predictions (dashed): the loss with the highest Dice of all seeds, the baseline, and the loss with the lowest."}, "image": {"alt": "Four times the same seismic section with the outline of the salt: alone, and with the predicted outline of three losses."}}
means = scores.groupby("loss")[judged].mean()
chosen = [means["dice"].idxmax(), "bce_dice", means["dice"].idxmin()]
shown = [names[loss] for loss in dict.fromkeys(chosen)]
fig = plotting.plot_predictions(
    section["amplitude"],
    section["salt"],
    {name: probabilities[name] for name in shown if name in probabilities},
)
page.save(answer=fig)
# %% [markdown]
# ## All losses together
#
# Networks that err in different places are better together: the thesis says that ensembles usually perform better
# than one network. {numref}`tab-ensembles` compares the mean of what the networks of all losses predict with what
# one of them does, for the middle sections of the first test volume of each seed: together they gain
# {glue:text}`gain_together`. The best loss of a seed is known only by the score itself; to be better than that one
# would be more than can be asked. {doc}`Chapter 7 <07_next_survey>` combines architectures, on surveys that no
# network has seen.

# %%
together = tabulate_ensembles(runs)
together = together[together["n_networks"] == len(losses)]
together["gain"] = together["together"] - together["mean"]
labels = {
    "mean": "One loss, mean of all",
    "highest": "One loss, the best of the seed by this score",
    "together": "All losses together",
    "gain": "Together, less the mean",
}
page.save(
    ensembles=pd.DataFrame(
        [
            (label, format_cell(together[k], digits=3))
            for k, label in labels.items()
        ],
        columns=["Prediction", "Dice"],
    )
)

# %% [markdown]
# ```{csv-table} Dice of all losses together and of one alone, in the middle sections of unseen earths: mean over seeds (and half of the 95 % interval).
# :file: ../results/02_loss_study/ensembles.csv
# :header-rows: 1
# :name: tab-ensembles
# ```

# %% tags=["nbval-ignore-output"]
page.tell(gain_together=format_cell(together["gain"], digits=3))

# %% [markdown]
# ## The claims
#
# Each statement of the thesis about losses was written down with its score, rule and margin before
# the first full run. A seed is one observation; it pairs the networks of all losses, and $d$ is the
# difference of their scores. {doc}`../notation` states the rule. With fewer than three seeds every claim
# stays undecided.

# %%
decisions = page.decide("losses", scores, entries=thesis.index, by="loss")

# %% [markdown]
# What such a decision rests on, for five made-up seeds of two losses: the mean difference and the
# one-sided bound below it. Above zero the claim is supported.

# %%
ours = np.array([0.91, 0.92, 0.90, 0.93, 0.92])
rival = np.array([0.90, 0.89, 0.90, 0.91, 0.90])
d = ours - rival
half = stats.t.ppf(0.95, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
low = d.mean() - half

# %% [markdown]
# The library has to agree, on the bound and on the verdict:

# %%
claim = replace(decisions[0].claim, subject="dice", others=("mse",))
made_up = pd.DataFrame(
    {
        "entry": ["dice"] * 5 + ["mse"] * 5,
        "seed": [*range(5), *range(5)],
        claim.measure: [*ours, *rival],
    }
)

# %% [markdown]
# Its bound and its verdict are those from above:

# %%
decision = study.decide(claim, made_up)
assert np.isclose(decision.effects[0].low, low)
assert (decision.verdict == "supported") == (low > 0)

# %% [markdown]
# ```{csv-table} The thesis' claims about losses, tested on the data of this page.
# :file: ../results/02_loss_study/claims.csv
# :header-rows: 1
# :name: tab-claims
# ```

# %% tags=["training"] mystnb={"figure": {"name": "fig-effects", "caption": "Effect of every claim against each rival: mean difference over seeds with its one-sided 95 % bounds. Right of zero speaks for the claim; the grey band is the margin, within which differences do not matter."}, "image": {"alt": "Forest plot with a row per claim and rival: a dot for the mean difference and a bar for its bounds, around a vertical line at zero."}}
fig = plotting.plot_effects(effect_table(decisions))
# %% [markdown]
# ## How sure is that?
#
# How often would studies like this one support a claim, if the true difference to every rival were its
# margin, or twice that? Where this *power* is low, so many seeds cannot be expected to support the claim.
# And would bounds from a bootstrap over seeds, which assume no normal distribution, judge otherwise?
# Of {glue:text}`n_claims` claims and checks, these seeds can be expected to support
# {glue:text}`n_decidable`, if they are true by two margins; the bootstrap, which needs ten seeds, disagrees
# about {glue:text}`n_disagree`.

# %%
sure = evidence.judge_evidence(
    decisions, scores, entries=thesis.index, by="loss"
)
page.save(evidence=sure)

# %% tags=["training"]
sure.set_index("claim").round(3)

# %% [markdown]
# Would another budget judge otherwise? The same claims, decided by the losses and seeds alone that were trained
# with other budgets. With few seeds most of them stay undecided.

# %%
about = [d.claim for d in decisions if d.claim.subject in contested]
by_epochs = {}
for n, part in by_budget.groupby("epochs"):
    judged = gate_claims(
        [
            study.decide(claim, part, entries=contested, by="loss")
            for claim in (about if len(contested) > 1 else ())
        ]
    )
    verdicts = {each.claim.statement: each.verdict for each in judged}
    by_epochs[f"{n} epochs"] = pd.Series(verdicts, dtype=str)

# %% tags=["training"]
pd.DataFrame(by_epochs)

# %% [markdown]
# ## Check
#
# The thesis' own table has to support the thesis' own claims, or they were copied wrongly; and a
# perfect prediction has to reach the best value of every score.

# %%
assert thesis["dice"].idxmax() == "dice"
assert thesis["perimetric_similarity"].idxmax() == "hausdorff"

# %% [markdown]
# Dice, PS and surface Dice of a perfect prediction, and its Hausdorff distance:

# %%
truth = unseen["salt"].values
perfect = score_volume(truth, truth, spacing_m=(1.0, 1.0, 1.0), tolerance_m=1.0)
(
    perfect.dice,
    perfect.perimetric_similarity,
    perfect.surface_dice,
    perfect.hausdorff95_m,
)

# %% [markdown]
# The numbers in the text come from here:

# %% tags=["nbval-ignore-output"]
answer = answer_losses(scores, decisions, budgets=by_budget, rates=by_lr)
page.save(sentences=answer)
page.tell(
    n_losses=scores["loss"].nunique(),
    n_seeds=scores["seed"].nunique(),
    n_planned=len(seeds),
    n_claims=len(sure),
    n_decidable=int((sure["power_2"] >= evidence.ENOUGH_POWER).sum()),
    n_disagree=int(
        (sure["bootstrap"] != sure["verdict"])[
            sure["bootstrap"] != NOT_RUN
        ].sum()
    ),
    **{
        f"best_by_{s}": name_set(best[s], losses) if s in bold else "open"
        for s in ("dice", "surface_dice")
    },
    **{f"answer_{n}": text for n, text in enumerate(answer, start=1)},
)
page.close()

# %% [markdown]
# ## Summary
#
# - All losses were trained under the same conditions and scored on whole volumes that the networks
#   never saw; {numref}`tab-table1` has the scores, {numref}`tab-claims` what follows from them.
# - PS alone can be high for a body in the wrong place. Where it and the surface Dice disagree, the
#   surface Dice is to be trusted.
# - A ranking without a spread over seeds is no ranking: with one seed, no claim is decided. This page has
#   {glue:text}`n_seeds` of {glue:text}`n_planned` seeds that its profile asks for.
