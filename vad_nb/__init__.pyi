# What a script needs: `import vad_nb` imports none of it, the first use of a name does (SPEC 1).
__version__: str

from .data.benchmarks import load_benchmark as load_benchmark
from .data.bags import load_bags as load_bags
from .data.objects import find_objects as find_objects
from .methods.catalog import train as train, open_run as open_run, score as score
from .stream import score_video as score_video
from .scores import Scores as Scores, read_labels_csv as read_labels_csv
from .evaluation import evaluate as evaluate, compare as compare, spread as spread
from .localise import evaluate_regions as evaluate_regions
from .alarms import fit_threshold as fit_threshold, find_alarms as find_alarms
from .alarms import write_alarms as write_alarms
from .overlay import overlay_clip as overlay_clip
from .report import write_report as write_report
from .figures.trainings import draw_figures as draw_figures
from .core import VadNbError as VadNbError
