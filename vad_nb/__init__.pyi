# What a script needs: `import vad_nb` imports none of it, the first use of a name does (SPEC 1).
__version__: str

from .data.datasets import load_benchmark as load_benchmark
from .data.bag_sets import load_bags as load_bags
from .data.finding import find_objects as find_objects
from .methods.catalog import train as train, open_run as open_run, score as score
from .apps.stream import score_video as score_video
from .evaluation.scores import Scores as Scores, read_labels_csv as read_labels_csv
from .evaluation.reports import evaluate as evaluate, compare as compare, spread as spread
from .apps.localise import evaluate_regions as evaluate_regions
from .evaluation.alarms import fit_threshold as fit_threshold, find_alarms as find_alarms
from .evaluation.alarms import write_alarms as write_alarms
from .apps.overlay import overlay_clip as overlay_clip
from .apps.report import write_report as write_report
from .figures.draw import draw_figures as draw_figures
from .core import VadNbError as VadNbError
