"""Batches of patches for training, and patches with a label each."""

from thesis_lib.patches.batches import Augmentation as Augmentation
from thesis_lib.patches.batches import PatchBatches as PatchBatches
from thesis_lib.patches.batches import salt_labels as salt_labels
from thesis_lib.patches.changes import ChangedBatches as ChangedBatches
from thesis_lib.patches.changes import SurveyChanges as SurveyChanges
from thesis_lib.patches.classes import EarthClasses as EarthClasses
from thesis_lib.patches.classes import LandmassBlock as LandmassBlock
from thesis_lib.patches.classes import SaltPatches as SaltPatches
from thesis_lib.patches.labels import LabelBatches as LabelBatches
from thesis_lib.patches.labels import LabelledPatches as LabelledPatches
from thesis_lib.patches.proxies import ProxyBatches as ProxyBatches
from thesis_lib.patches.volumes import Earths as Earths
from thesis_lib.patches.volumes import FlawedEarths as FlawedEarths
from thesis_lib.patches.volumes import Survey as Survey
from thesis_lib.patches.volumes import choose_data as choose_data
from thesis_lib.patches.volumes import open_test as open_test
