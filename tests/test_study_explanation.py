import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from explained_networks import make_classifier, make_patches, make_segmenter

from thesis_lib.study.explanation import (
    load_network,
    predict_salt,
    read_records,
    to_records,
)
from thesis_lib.study.segmentation import load_model


def test_tables_survive_json():
    """Records are JSON that has no NaN, and turn into the same table, columns in their order."""
    table = pd.DataFrame({"patch": [1, 0], "value": [0.5, np.nan], "bodies": [np.nan, np.nan]})
    text = json.dumps(to_records(table), allow_nan=False, sort_keys=True)
    found = read_records(json.loads(text), ["patch"], ["value", "bodies"])
    pd.testing.assert_frame_equal(found, table)


def test_salt_is_the_sigmoid_of_the_segmenter(tmp_path):
    """The probability of a patch is that of the U-Net in eval mode, whatever the batch."""
    folder, images = make_segmenter(tmp_path), make_patches(3).tensors()
    with torch.no_grad():
        expected = torch.sigmoid(load_model(folder).eval()(images[:1]))
    torch.testing.assert_close(predict_salt(folder, images)[:1], expected)


def test_a_segmenter_is_a_segmentation_run():
    """Another folder is refused."""
    with pytest.raises(ValueError, match="Must be the folder of a finished segmentation run"):
        predict_salt(Path("nowhere"), make_patches(1).tensors())


def test_layout_follows_precision(tmp_path):
    """Networks lie channels last where bf16 computes, and as they were in float32."""
    network = make_classifier(tmp_path)
    for precision, last in (("bf16-mixed", True), ("32-true", False)):
        weight = next(w for w in load_network(network, precision).block1.parameters() if w.ndim > 3)
        assert weight.is_contiguous(memory_format=torch.channels_last) == last
