"""
Seismic volumes in and out: one xarray Dataset for every format.

`saltvolumes.volume` states what a volume is. `open_volume` reads it from SEG-Y, Zarr, NetCDF or
npz, `save_volume` writes it, and `fetch` with `open_source` gets the official data sets.
"""

from saltvolumes.datasets import DATA_SOURCES as DATA_SOURCES
from saltvolumes.datasets import SURVEYS as SURVEYS
from saltvolumes.datasets import DataSource as DataSource
from saltvolumes.datasets import fetch as fetch
from saltvolumes.datasets import open_source as open_source
from saltvolumes.errors import DataError as DataError
from saltvolumes.inspection import Inspection as Inspection
from saltvolumes.inspection import inspect_volume as inspect_volume
from saltvolumes.landmass import Landmass as Landmass
from saltvolumes.landmass import open_landmass as open_landmass
from saltvolumes.landmass import split_blocks as split_blocks
from saltvolumes.lines import find_missing as find_missing
from saltvolumes.lines import middle_section as middle_section
from saltvolumes.lines import richest_section as richest_section
from saltvolumes.lines import select_lines as select_lines
from saltvolumes.opening import open_volume as open_volume
from saltvolumes.saving import save_volume as save_volume
from saltvolumes.volume import build_volume as build_volume
from saltvolumes.volume import content_hash as content_hash
from saltvolumes.volume import spacing_m as spacing_m
from saltvolumes.volume import vertical_dim as vertical_dim
