"""What networks see: activation maximization, network inversion, class activation maps."""

from thesis_lib.xai import measures as measures
from thesis_lib.xai import spectra as spectra
from thesis_lib.xai.cam import cam as cam
from thesis_lib.xai.images import Fourier as Fourier
from thesis_lib.xai.images import Phase as Phase
from thesis_lib.xai.images import Pixels as Pixels
from thesis_lib.xai.inversion import Inversion as Inversion
from thesis_lib.xai.inversion import invert as invert
from thesis_lib.xai.maximization import Maximization as Maximization
from thesis_lib.xai.maximization import maximize as maximize
from thesis_lib.xai.objectives import class_logit as class_logit
from thesis_lib.xai.objectives import class_margin as class_margin
from thesis_lib.xai.transforms import Robustness as Robustness
