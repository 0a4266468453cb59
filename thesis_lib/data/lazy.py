"""Arrays that are computed from another one block by block, when they are asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray
from xarray.backends import BackendArray
from xarray.core import indexing


class MappedArray(BackendArray):
    """
    A variable seen through a function of its samples; never held whole.

    Parameters
    ----------
    variable : Variable
        What is read, block by block.
    function : callable
        Takes a block and returns an array of the same shape.
    dtype : dtype
        Of what the function returns.
    """

    def __init__(
        self,
        variable: xr.Variable,
        function: Callable[[NDArray[Any]], NDArray[Any]],
        dtype: DTypeLike,
    ) -> None:
        self.variable = variable
        self.function = function
        self.shape = variable.shape
        self.dtype = np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return self.function(self.variable[key].values)


def map_samples(
    array: xr.DataArray, function: Callable[[NDArray[Any]], NDArray[Any]], dtype: DTypeLike
) -> Any:
    """Wrap an array so that ``function`` is applied to what is read of it."""
    return indexing.LazilyIndexedArray(MappedArray(array.variable, function, dtype))
