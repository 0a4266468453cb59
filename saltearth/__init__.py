"""
A seeded three-dimensional earth with salt, and its migrated seismic image.

Geology is a list of named steps on one state (`STEPS`): each reads and changes the stratigraphic
coordinate, of which layers are isosurfaces, or the salt, which is an implicit function. Rock
physics and imaging follow: velocity, density, impedance, reflectivity, point-spread function,
illumination, noise. Statistics of sections compare the images with those of real surveys, and
patches in four classes are labelled by the geology that made them.
"""

from saltearth.classes import ClassPatches as ClassPatches
from saltearth.classes import make_class_patches as make_class_patches
from saltearth.features import make_features as make_features
from saltearth.flaws import FLAWS as FLAWS
from saltearth.flaws import make_flawed as make_flawed
from saltearth.making import STEPS as STEPS
from saltearth.making import make_volume as make_volume
from saltearth.presets import KINDS as KINDS
from saltearth.presets import PRESETS as PRESETS
from saltearth.presets import Preset as Preset
from saltearth.presets import SaltKind as SaltKind
from saltearth.statistics import DISTANCES as DISTANCES
from saltearth.statistics import compare_all as compare_all
from saltearth.statistics import compare_statistics as compare_statistics
from saltearth.statistics import section_statistics as section_statistics
from saltearth.statistics import summarise_statistics as summarise_statistics
