"""The public names and where they are defined: type checkers read these lines, and `fastbp/__init__.py` does."""

from fastbp import callbacks as callbacks
from fastbp import engine as engine
from fastbp import estimators as estimators
from fastbp import formats as formats
from fastbp import initializers as initializers
from fastbp import kernels as kernels
from fastbp import objectives as objectives
from fastbp import optimizers as optimizers
from fastbp import plot as plot
from fastbp import reference as reference
from fastbp import schedules as schedules
from fastbp.callbacks import Callback as Callback
from fastbp.callbacks import Checkpoint as Checkpoint
from fastbp.callbacks import CSVLogger as CSVLogger
from fastbp.callbacks import DivergenceError as DivergenceError
from fastbp.callbacks import EarlyStopping as EarlyStopping
from fastbp.callbacks import ProgressBar as ProgressBar
from fastbp.callbacks import ReduceLROnPlateau as ReduceLROnPlateau
from fastbp.callbacks import TerminateOnNaN as TerminateOnNaN
from fastbp.callbacks import TimeLimit as TimeLimit
from fastbp.descent import gradient_descent as gradient_descent
from fastbp.estimators import LossCurveDisplay as LossCurveDisplay
from fastbp.estimators import MLPClassifier as MLPClassifier
from fastbp.estimators import MLPRegressor as MLPRegressor
from fastbp.formats import load as load
from fastbp.layers import Dense as Dense
from fastbp.layers import Dropout as Dropout
from fastbp.optimizers import SGD as SGD
from fastbp.optimizers import Adagrad as Adagrad
from fastbp.optimizers import Adam as Adam
from fastbp.optimizers import AdamW as AdamW
from fastbp.optimizers import NAdam as NAdam
from fastbp.optimizers import RMSProp as RMSProp
from fastbp.optimizers import Rprop as Rprop
from fastbp.schedules import ConstantSchedule as ConstantSchedule
from fastbp.schedules import CosineDecay as CosineDecay
from fastbp.schedules import ExponentialDecay as ExponentialDecay
from fastbp.schedules import InverseScaling as InverseScaling
from fastbp.schedules import OneCycle as OneCycle
from fastbp.schedules import StepDecay as StepDecay
from fastbp.sequential import Sequential as Sequential
from fastbp.training import History as History
from fastbp.training import Trainer as Trainer

__version__: str
