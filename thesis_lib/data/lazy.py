"""Arrays that are computed from others block by block, when they are asked for."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray
from xarray.backends import BackendArray
from xarray.core import indexing


class MappedArray(BackendArray):
    """
    Variables of one shape seen through a function of their samples; never held whole.

    Parameters
    ----------
    variables : sequence of Variable
        What is read, block by block.
    function : callable
        Takes a block of each variable and returns an array of the same shape.
    dtype : dtype
        Of what the function returns.
    """

    def __init__(
        self,
        variables: Sequence[xr.Variable],
        function: Callable[..., NDArray[Any]],
        dtype: DTypeLike,
    ) -> None:
        self.variables = variables
        self.function = function
        self.shape = variables[0].shape
        self.dtype = np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return self.function(*(variable[key].values for variable in self.variables))


def map_samples(
    function: Callable[..., NDArray[Any]], dtype: DTypeLike, *arrays: xr.DataArray
) -> Any:
    """Wrap arrays of one shape so that ``function`` is applied to what is read of them."""
    variables = [array.variable for array in arrays]
    return indexing.LazilyIndexedArray(MappedArray(variables, function, dtype))
