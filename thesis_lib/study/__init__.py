"""Studies: tasks keyed by content, resumed, spread over workers; tables and claims."""

from thesis_lib.study.admission import MeasureData as MeasureData
from thesis_lib.study.attribution import Explain as Explain
from thesis_lib.study.claims import decide as decide
from thesis_lib.study.claims import read_claims as read_claims
from thesis_lib.study.classification import INITIALISATIONS as INITIALISATIONS
from thesis_lib.study.classification import Classify as Classify
from thesis_lib.study.classification import compare_initialisations as compare_initialisations
from thesis_lib.study.inversion import Admit as Admit
from thesis_lib.study.inversion import Invert as Invert
from thesis_lib.study.maximization import Maximize as Maximize
from thesis_lib.study.moving import Film as Film
from thesis_lib.study.moving import MapBlocks as MapBlocks
from thesis_lib.study.moving import Predict as Predict
from thesis_lib.study.readout import Readout as Readout
from thesis_lib.study.robust import TrainRobust as TrainRobust
from thesis_lib.study.running import run_all as run_all
from thesis_lib.study.saltnet import Adapt as Adapt
from thesis_lib.study.saltnet import Ensemble as Ensemble
from thesis_lib.study.saltnet import PredictSurvey as PredictSurvey
from thesis_lib.study.segmentation import Score as Score
from thesis_lib.study.segmentation import ScoreSections as ScoreSections
from thesis_lib.study.segmentation import Train as Train
from thesis_lib.study.tables import tabulate as tabulate
from thesis_lib.study.tables import tabulate_histories as tabulate_histories
from thesis_lib.study.tasks import grid as grid
from thesis_lib.study.tasks import read_tasks as read_tasks
